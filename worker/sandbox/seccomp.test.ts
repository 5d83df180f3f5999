import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import fc from 'fast-check'
import { seccompProgram } from './seccomp.ts'
import { SYSCALLS } from './syscalls.ts'

const ALLOW = 0x7fff0000
const KILL = 0x80000000
const EPERM = 0x00050001
const ENOSYS = 0x00050026
const EAFNOSUPPORT = 0x00050061
const AUDIT = { x64: 0xc000003e, arm64: 0xc00000b7, i386: 0x40000003, arm: 0x40000028 }

/** A classic BPF machine with the instructions the kernel's seccomp knows and this program uses. */
function decide(program: Buffer, call: { arch: number; number: number; args?: readonly bigint[] }): number {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(call.number >>> 0, 0)
  data.writeUInt32LE(call.arch, 4)
  for (const [at, value] of (call.args ?? []).entries()) data.writeBigUInt64LE(BigInt.asUintN(64, value), 16 + at * 8)
  let accumulator = 0
  for (let at = 0; at * 8 < program.length; at += 1) {
    const code = program.readUInt16LE(at * 8)
    const operand = program.readUInt32LE(at * 8 + 4)
    const jump = (taken: boolean): void => {
      at += program.readUInt8(at * 8 + (taken ? 2 : 3))
    }
    if (code === 0x20) accumulator = data.readUInt32LE(operand)
    else if (code === 0x15) jump(accumulator === operand)
    else if (code === 0x35) jump(accumulator >= operand)
    else if (code === 0x45) jump((accumulator & operand) !== 0)
    else if (code === 0x06) return operand
    else assert.fail(`instruction ${at} has the unknown code ${code}`)
  }
  return assert.fail('the program ran past its end')
}

/** The upper half of an argument, which a filter that compares 32 bits does not see and the kernel may or may not use. */
const HIGH_WORDS = [0n, 1n << 32n, 0xffffffffn << 32n]

for (const arch of ['x64', 'arm64'] as const) {
  const table = SYSCALLS[arch]
  assert.ok(table !== undefined)
  const program = seccompProgram(arch, true)
  const call = (number: number, ...args: (number | bigint)[]): number =>
    decide(program, { arch: AUDIT[arch], number, args: args.map(BigInt) })
  const refused = Object.values(table.refused).flatMap((numbers) => Object.entries(numbers))
  const special = [table.clone, table.clone3, table.ioctl, table.socket, table.socketpair]

  test(`${arch}: every call of the table is refused, every other up to the newest allowed, none is listed twice`, () => {
    const numbers = new Set(refused.map(([, number]) => number))
    assert.equal(numbers.size, refused.length)
    assert.ok(numbers.size > 60)
    assert.deepEqual(
      special.filter((number) => numbers.has(number)),
      [],
    )
    for (let number = 0; number <= table.newest; number += 1) {
      if (special.includes(number)) continue
      assert.equal(call(number), numbers.has(number) ? EPERM : ALLOW, String(number))
    }
  })

  test(`${arch}: memory that only a control group counts is refused where there is none, and nothing else`, () => {
    const strict = seccompProgram(arch, false)
    const uncounted = Object.values(table.uncounted)
    for (let number = 0; number <= table.newest; number += 1) {
      const verdict = decide(strict, { arch: AUDIT[arch], number, args: [1n] })
      assert.equal(verdict, uncounted.includes(number) ? EPERM : call(number, 1), String(number))
    }
    for (const number of uncounted) assert.equal(call(number, 1), ALLOW)
  })

  test(`${arch}: refused whatever the arguments are`, () => {
    const anyCall = fc.tuple(
      fc.constantFrom(...refused),
      fc.array(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { maxLength: 6 }),
    )
    fc.assert(fc.property(anyCall, ([[name, number], args]) => assert.equal(call(number, ...args), EPERM, name)))
  })

  test(`${arch}: another architecture kills the process, whatever it calls`, () => {
    const others = Object.values(AUDIT).filter((audit) => audit !== AUDIT[arch])
    for (const other of others) {
      for (const number of [0, 20, table.clone, 0xffffffff]) {
        assert.equal(decide(program, { arch: other, number }), KILL)
      }
    }
  })

  test(`${arch}: numbers newer than the table, those of the x32 ABI among them, do not exist`, () => {
    for (const number of [table.newest + 1, 467, 1000, 0x40000000, 0x40000000 + 39, 0x40000000 + 520, 0xffffffff]) {
      assert.equal(call(number), ENOSYS, String(number))
    }
  })

  test(`${arch}: clone makes processes and threads but no namespaces, whatever the upper half says`, () => {
    for (const high of HIGH_WORDS) {
      for (const plain of [17n, 0x3d0f00n, 0x1200011n & ~0x02000000n])
        assert.equal(call(table.clone, plain | high), ALLOW)
      for (const flag of [0x00020000n, 0x02000000n, 0x04000000n, 0x08000000n, 0x10000000n, 0x20000000n, 0x40000000n]) {
        assert.equal(call(table.clone, flag | 17n | high), EPERM)
      }
    }
    assert.equal(call(table.clone3), ENOSYS)
  })

  test(`${arch}: only unix, internet and route sockets exist, for socket and socketpair alike`, () => {
    for (const number of [table.socket, table.socketpair]) {
      for (const high of HIGH_WORDS) {
        for (let family = 0n; family < 64n; family += 1n) {
          const expected = [1n, 2n, 10n, 16n].includes(family) ? ALLOW : EAFNOSUPPORT
          assert.equal(call(number, family | high, 1, 0), expected, String(family))
        }
        for (const protocol of [4n, 9n, 12n]) assert.equal(call(number, 16n | high, 3, protocol), EAFNOSUPPORT)
      }
    }
  })

  test(`${arch}: typing into a terminal is refused however the upper half of the request is set`, () => {
    for (const high of HIGH_WORDS) {
      for (const request of [0x5412n, 0x541cn]) assert.equal(call(table.ioctl, 0, request | high), EPERM)
      assert.equal(call(table.ioctl, 0, 0x5413n | high), ALLOW)
    }
  })

  test(`${arch}: the kernel takes at most 4096 instructions`, () => {
    assert.equal(program.length % 8, 0)
    assert.ok(program.length / 8 < 4096)
  })
}

function hasResolver(): boolean {
  try {
    execFileSync('scmp_sys_resolver', ['read'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

test('the numbers of both tables are those of libseccomp', {
  skip: hasResolver() ? false : 'no scmp_sys_resolver (package seccomp) on this machine',
}, () => {
  for (const [arch, name] of [
    ['x64', 'x86_64'],
    ['arm64', 'aarch64'],
  ] as const) {
    const resolve = (call: string): number =>
      Number(execFileSync('scmp_sys_resolver', ['-a', name, call], { encoding: 'latin1' }))
    const table = SYSCALLS[arch]
    assert.ok(table !== undefined)
    const { refused, uncounted, audit: _, newest: __, ...special } = table
    let checked = 0
    const all = { ...special, ...uncounted, ...Object.assign({}, ...Object.values(refused)) }
    for (const [call, number] of Object.entries(all)) {
      const known = resolve(call)
      // -1 is a call newer than that library; those of 424 and above have one number everywhere.
      if (known === -1) assert.ok(Number(number) > 450, `${arch} ${call}`)
      else assert.equal(number, known, `${arch} ${call}`)
      checked += known === -1 ? 0 : 1
    }
    assert.ok(checked > 60)
  }
  // What one table refuses and the other does not is a call that architecture does not have.
  const named = (arch: string): string[] => Object.values(SYSCALLS[arch]?.refused ?? {}).flatMap(Object.keys)
  const missing = named('x64').filter((call) => !named('arm64').includes(call))
  assert.deepEqual(missing.sort(), ['ioperm', 'iopl', 'modify_ldt', 'uselib'])
  assert.deepEqual(
    named('arm64').filter((call) => !named('x64').includes(call)),
    [],
  )
})

test('an architecture without a table is refused', () => {
  assert.throws(() => seccompProgram('riscv64', true), /riscv64/)
})
