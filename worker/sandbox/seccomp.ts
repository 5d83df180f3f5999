import { SYSCALLS } from './syscalls.ts'

/** Instruction codes of classic BPF as the kernel's seccomp accepts them (linux/bpf_common.h). */
const LOAD_WORD = 0x20
const JUMP_EQUAL = 0x15
const JUMP_AT_LEAST = 0x35
const JUMP_ANY_BIT = 0x45
const RETURN = 0x06

/** Offsets into struct seccomp_data (linux/seccomp.h); an argument is 64 bits, these are its low halves (little endian). */
const OFFSET = { number: 0, architecture: 4, argument0: 16, argument1: 24, argument2: 32 }

const ALLOW = 0x7fff0000
const KILL_PROCESS = 0x80000000
const refuseWith = (errno: number): number => 0x00050000 | errno
const EPERM = refuseWith(1)
const ENOSYS = refuseWith(38)
const EAFNOSUPPORT = refuseWith(97)

/** CLONE_NEWTIME is a flag of unshare and clone3 only; these are the seven clone() knows (linux/sched.h). */
const CLONE_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
/** ioctl requests that type into somebody's terminal: TIOCSTI, TIOCLINUX (CVE-2017-5226). */
const TERMINAL_INJECTION = [0x5412, 0x541c]
/** AF_UNIX, AF_INET, AF_INET6; AF_VSOCK and others reach the host from inside any network namespace. */
const SOCKET_FAMILIES = [1, 2, 10]
const AF_NETLINK = 16
const NETLINK_ROUTE = 0

type Step = { code: number; value: number; ifTrue?: string; ifFalse?: string } | { label: string }

/** Two passes: jumps name labels, and a label's distance is known once every instruction has its place. */
function assemble(steps: readonly Step[]): Buffer {
  const labels = new Map<string, number>()
  const instructions: Exclude<Step, { label: string }>[] = []
  for (const step of steps) {
    if ('label' in step) labels.set(step.label, instructions.length)
    else instructions.push(step)
  }
  const bytes = Buffer.alloc(instructions.length * 8)
  instructions.forEach((instruction, at) => {
    const distance = (label: string | undefined): number => {
      if (label === undefined) return 0
      const target = labels.get(label)
      if (target === undefined) throw new Error(`seccomp: no label ${label}`)
      const skip = target - at - 1
      if (skip < 0 || skip > 255)
        throw new Error(`seccomp: ${label} is ${skip} instructions away, a jump reaches 0 to 255`)
      return skip
    }
    bytes.writeUInt16LE(instruction.code, at * 8)
    bytes.writeUInt8(distance(instruction.ifTrue), at * 8 + 2)
    bytes.writeUInt8(distance(instruction.ifFalse), at * 8 + 3)
    bytes.writeUInt32LE(instruction.value >>> 0, at * 8 + 4)
  })
  return bytes
}

const load = (value: number): Step => ({ code: LOAD_WORD, value })
const finish = (value: number): Step => ({ code: RETURN, value })
const ifEqual = (value: number, ifTrue?: string, ifFalse?: string): Step => ({
  code: JUMP_EQUAL,
  value,
  ifTrue,
  ifFalse,
})

/**
 * The seccomp program of every job, as the bytes `bwrap --seccomp` reads: a deny list over a closed range of numbers
 * (what is newer than the table answers ENOSYS). Where nothing in the kernel counts a job's memory, `isMemoryCounted` is false
 * and the calls by which it could be held outside of processes and files are refused. Throws on an architecture without a table.
 */
export function seccompProgram(arch: string, isMemoryCounted: boolean): Buffer {
  const table = SYSCALLS[arch]
  if (table === undefined) throw new Error(`seccomp: no system call numbers for ${arch}`)
  const steps: Step[] = [
    load(OFFSET.architecture),
    ifEqual(table.audit, 'native'),
    finish(KILL_PROCESS), // i386 calls through int 0x80 carry other numbers: every rule below would be read wrong
    { label: 'native' },
    load(OFFSET.number),
  ]
  // Also ends the x32 ABI, whose numbers begin at 0x40000000.
  steps.push({ code: JUMP_AT_LEAST, value: table.newest + 1, ifFalse: 'known' }, finish(ENOSYS), { label: 'known' })
  for (const numbers of [...Object.values(table.refused), ...(isMemoryCounted ? [] : [table.uncounted])]) {
    for (const [name, number] of Object.entries(numbers)) {
      steps.push(ifEqual(number, undefined, `not ${name}`), finish(EPERM), { label: `not ${name}` })
    }
  }
  // clone3 passes its flags by pointer, out of reach for a filter: without it glibc falls back to clone.
  steps.push(ifEqual(table.clone3, undefined, 'notClone3'), finish(ENOSYS), { label: 'notClone3' })
  steps.push(
    ifEqual(table.clone, undefined, 'notClone'),
    load(OFFSET.argument0),
    { code: JUMP_ANY_BIT, value: CLONE_NAMESPACES, ifFalse: 'plainClone' },
    finish(EPERM),
    { label: 'plainClone' },
    finish(ALLOW),
    { label: 'notClone' },
    ifEqual(table.ioctl, undefined, 'notIoctl'),
    load(OFFSET.argument1), // the kernel truncates the request to 32 bits too
    ...TERMINAL_INJECTION.map((request) => ifEqual(request, 'injection')),
    finish(ALLOW),
    { label: 'injection' },
    finish(EPERM),
    { label: 'notIoctl' },
    ifEqual(table.socket, 'family'),
    ifEqual(table.socketpair, 'family', 'rest'),
    { label: 'family' },
    load(OFFSET.argument0),
    ...SOCKET_FAMILIES.map((family) => ifEqual(family, 'rest')),
    ifEqual(AF_NETLINK, undefined, 'noFamily'),
    load(OFFSET.argument2), // getaddrinfo asks the route family; nftables, audit and xfrm are attack surface
    ifEqual(NETLINK_ROUTE, 'rest'),
    { label: 'noFamily' },
    finish(EAFNOSUPPORT),
    { label: 'rest' },
    finish(ALLOW),
  )
  return assemble(steps)
}
