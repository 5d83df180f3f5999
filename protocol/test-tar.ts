// Archives of any kind, also such as no tar would write.

export interface TarEntry {
  name: string | Buffer
  type?: string
  content?: Uint8Array | string
  mode?: number
  /** Said in the header instead of the content's length. */
  size?: number | Buffer
  linkname?: string
  prefix?: string
  magic?: string
  /** Does not match the header. */
  sum?: number
}

export function tarEntry(entry: TarEntry): Buffer {
  const { name, type = '0', mode = 0o644, linkname = '', prefix = '', magic = 'ustar\x0000' } = entry
  const content = Buffer.from(entry.content ?? '')
  const block = Buffer.alloc(512)
  Buffer.from(name).copy(block, 0, 0, 100)
  block.write(`${mode.toString(8).padStart(7, '0')}\0`, 100, 'latin1')
  block.write('0000000\x000000000\0', 108, 'latin1')
  const size = entry.size ?? content.length
  if (typeof size === 'number') block.write(`${size.toString(8).padStart(11, '0')}\0`, 124, 'latin1')
  else size.copy(block, 124)
  block.write('00000000000\0', 136, 'latin1')
  block.write(type, 156, 'latin1')
  block.write(linkname, 157)
  block.write(magic, 257, 'latin1')
  block.write(prefix, 345)
  block.fill(' ', 148, 156)
  const sum = entry.sum ?? block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return Buffer.concat([block, content, Buffer.alloc((512 - (content.length % 512)) % 512)])
}

export const tarEnd = Buffer.alloc(1024)

export function tarOf(...entries: (TarEntry | Buffer)[]): Buffer {
  return Buffer.concat([...entries.map((entry) => (Buffer.isBuffer(entry) ? entry : tarEntry(entry))), tarEnd])
}

/** One record of an extended header. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = Buffer.byteLength(rest) + 1
  while (String(length).length + Buffer.byteLength(rest) !== length) length += 1
  return `${length}${rest}`
}

export const paxHeader = (...records: string[]): Buffer =>
  tarEntry({ name: 'PaxHeader/x', type: 'x', content: records.join('') })

export const gnuName = (name: string): Buffer => tarEntry({ name: '././@LongLink', type: 'L', content: `${name}\0` })

const plain = { name: 'a', content: 'x' }
const bytes = (...values: number[]): Buffer => Buffer.from(values)

/** Archives that no end may take, by what is wrong with them. */
export const hostileArchives: Record<string, Buffer> = {
  'a symbolic link': tarOf({ name: 'link', type: '2', linkname: '/etc/passwd' }),
  'a symbolic link and a file through it': tarOf(
    { name: 'd', type: '2', linkname: '/tmp' },
    { name: 'd/x', content: 'x' },
  ),
  'a hard link': tarOf(plain, { name: 'b', type: '1', linkname: 'a' }),
  'a character device': tarOf({ name: 'null', type: '3' }),
  'a block device': tarOf({ name: 'sda', type: '4' }),
  'a named pipe': tarOf({ name: 'fifo', type: '6' }),
  'a contiguous file': tarOf({ name: 'a', type: '7' }),
  'a sparse file': tarOf({ name: 'a', type: 'S' }),
  'an unknown kind': tarOf({ name: 'a', type: 'Z' }),
  'a long link target': tarOf({ name: '././@LongLink', type: 'K', content: 'x\0' }, plain),
  'a file with a link target': tarOf({ ...plain, linkname: 'b' }),
  'an absolute path': tarOf({ name: '/etc/cron.d/x' }),
  'a path upward': tarOf({ name: '../x' }),
  'a path upward in the middle': tarOf({ name: 'a/../../x' }),
  'a path upward at the end': tarOf({ name: 'a/..' }),
  'a folder upward': tarOf({ name: '../', type: '5' }),
  'the root as a folder': tarOf({ name: '/', type: '5' }),
  'a step that is a dot': tarOf({ name: 'a/./b' }),
  'an empty step': tarOf({ name: 'a//b' }),
  'an empty name': tarOf({ name: '' }),
  'a file that ends in a slash': tarOf({ name: 'a/' }),
  'the folder itself as a file': tarOf({ name: '.' }),
  'a backslash': tarOf({ name: '..\\x' }),
  'a line break': tarOf({ name: 'a\nb' }),
  'an escape character': tarOf({ name: 'a\u001b[2J' }),
  'a control character of Latin-1': tarOf({ name: 'a\u009bb' }),
  'a name that is not UTF-8': tarOf({ name: bytes(0x61, 0xff) }),
  'a name too long for a disk': tarOf(
    { name: 'n'.repeat(100), prefix: `${'p'.repeat(100)}/${'q'.repeat(50)}` },
    gnuName('x'.repeat(256)),
    plain,
  ),
  'a path too long': tarOf(gnuName(`${'y'.repeat(99)}/`.repeat(11).concat('z')), plain),
  'a path too deep': tarOf(gnuName(`${'y/'.repeat(65)}z`), plain),
  'a path upward by a prefix': tarOf({ name: 'x', prefix: '..' }),
  'a path upward by an extended header': tarOf(paxHeader(paxRecord('path', '../x')), plain),
  'a path upward by a long name': tarOf(gnuName('../x'), plain),
  'a long name that hides another': tarOf(tarEntry({ name: 'L', type: 'L', content: 'good\0../bad\0' }), plain),
  'a file twice': tarOf(plain, plain),
  'a folder twice': tarOf({ name: 'd/', type: '5' }, { name: 'd/', type: '5' }),
  'a file twice under two spellings': tarOf(plain, { name: './a' }),
  'a file as a folder': tarOf(plain, { name: 'a/b' }),
  'a folder as a file': tarOf({ name: 'a/b' }, plain),
  'a set-user-id file': tarOf({ ...plain, mode: 0o4755 }),
  'a set-group-id file': tarOf({ ...plain, mode: 0o2755 }),
  'a folder with contents': tarOf({ name: 'd/', type: '5', content: 'x' }),
  'two extended headers': tarOf(paxHeader(paxRecord('path', 'b')), paxHeader(paxRecord('path', 'c')), plain),
  'two long names': tarOf(gnuName('b'), gnuName('c'), plain),
  'an extended header and a long name': tarOf(paxHeader(paxRecord('path', 'b')), gnuName('c'), plain),
  'a key twice': tarOf(paxHeader(paxRecord('path', 'b'), paxRecord('path', 'c')), plain),
  'another size in the extended header': tarOf(paxHeader(paxRecord('size', '513')), plain),
  'a size that is no number': tarOf(paxHeader(paxRecord('size', '1e1')), plain),
  'a sparse map': tarOf(paxHeader(paxRecord('GNU.sparse.map', '0,1')), plain),
  'a link target in the extended header': tarOf(paxHeader(paxRecord('linkpath', '/etc')), plain),
  'an attribute': tarOf(paxHeader(paxRecord('SCHILY.xattr.security.capability', 'x')), plain),
  'an encoding of its own': tarOf(paxHeader(paxRecord('hdrcharset', 'BINARY')), plain),
  'a name taken away': tarOf(paxHeader(paxRecord('path', '')), plain),
  'a record longer than its header': tarOf(paxHeader('99 path=b\n'), plain),
  'a record without an end': tarOf(paxHeader('9 path=bb'), plain),
  'a record without a value': tarOf(paxHeader('7 path\n'), plain),
  'a name in a global header': tarOf(tarEntry({ name: 'g', type: 'g', content: paxRecord('path', 'b') }), plain),
  'an extended header for nothing': tarOf(paxHeader(paxRecord('path', 'b'))),
  'an extended header that is too long': tarOf(paxHeader(paxRecord('comment', 'x'.repeat(70_000))), plain),
  'a size in base 256': tarOf({ name: 'a', size: bytes(0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) }),
  'a negative size': tarOf({ name: 'a', size: Buffer.from('-0000000001\0') }),
  'a wrong sum': tarOf({ ...plain, sum: 1 }),
  'an older format': tarOf({ ...plain, magic: '\0'.repeat(8) }),
  'no end': tarEntry(plain),
  'half an end': Buffer.concat([tarEntry(plain), Buffer.alloc(512)]),
  'an end in the middle of a file': tarEntry({ ...plain, size: 4096 }),
  'an end in the middle of a header': tarEntry(plain).subarray(0, 300),
  'something behind its end': Buffer.concat([tarOf(plain), tarEntry({ name: 'b' })]),
  'one zero block and more files': Buffer.concat([tarEntry(plain), Buffer.alloc(512), tarOf({ name: 'b' })]),
  'a megabyte of zeros behind its end': Buffer.concat([tarOf(plain), Buffer.alloc(1_200_000)]),
  'nothing at all': Buffer.alloc(0),
  'a single byte': bytes(0x1f),
  text: Buffer.from('hello, I am no archive'),
  'a zip file': Buffer.from('504b0304140000000000', 'hex'),
}
