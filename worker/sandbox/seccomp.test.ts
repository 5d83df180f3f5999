import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SYSCALLS, seccompProgram } from './seccomp.ts'

const ALLOW = 0x7fff0000
const KILL = 0x80000000
const EPERM = 0x00050001
const ENOSYS = 0x00050026
const EAFNOSUPPORT = 0x00050061
const X64 = 0xc000003e

/** A classic BPF machine with the instructions the kernel's seccomp knows and this program uses. */
function decide(program: Buffer, call: { arch?: number; number: number; args?: readonly number[] }): number {
  const data = Buffer.alloc(64)
  data.writeUInt32LE(call.number >>> 0, 0)
  data.writeUInt32LE(call.arch ?? X64, 4)
  for (const [at, value] of (call.args ?? []).entries()) data.writeBigUInt64LE(BigInt(value), 16 + at * 8)
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

const program = seccompProgram('x64')

test('ordinary system calls are allowed', () => {
  for (const number of [0, 1, 2, 9, 39, 57, 59, 202, 231, 257, 281, 332, 449])
    assert.equal(decide(program, { number }), ALLOW)
})

test('every call of the table is refused and no number is listed twice', () => {
  const seen = new Set<number>()
  for (const numbers of Object.values(SYSCALLS.x64?.refused ?? {})) {
    for (const [name, number] of Object.entries(numbers)) {
      assert.equal(decide(program, { number }), EPERM, name)
      assert.equal(seen.has(number), false, name)
      seen.add(number)
    }
  }
  assert.ok(seen.size > 60)
})

test('another architecture kills the process', () => {
  assert.equal(decide(program, { arch: 0x40000003, number: 20 }), KILL)
  assert.equal(decide(program, { arch: 0xc00000b7, number: 172 }), KILL)
})

test('numbers newer than the table and the x32 ABI do not exist', () => {
  for (const number of [463, 467, 1000, 0x40000000 + 39, 0xffffffff]) assert.equal(decide(program, { number }), ENOSYS)
})

test('clone makes processes and threads but no namespaces', () => {
  assert.equal(decide(program, { number: 56, args: [17] }), ALLOW)
  assert.equal(decide(program, { number: 56, args: [0x3d0f00] }), ALLOW)
  for (const flag of [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]) {
    assert.equal(decide(program, { number: 56, args: [flag | 17] }), EPERM)
  }
  assert.equal(decide(program, { number: 435 }), ENOSYS)
})

test('only unix, internet and route sockets exist, for socket and socketpair alike', () => {
  for (const number of [41, 53]) {
    for (const family of [1, 2, 10]) assert.equal(decide(program, { number, args: [family, 1, 0] }), ALLOW)
    for (const family of [0, 15, 17, 29, 31, 38, 40, 44]) {
      assert.equal(decide(program, { number, args: [family, 1, 0] }), EAFNOSUPPORT)
    }
    assert.equal(decide(program, { number, args: [16, 3, 0] }), ALLOW)
    assert.equal(decide(program, { number, args: [16, 3, 12] }), EAFNOSUPPORT)
  }
})

test('typing into a terminal is refused however the upper half of the request is set', () => {
  for (const request of [0x5412, 0x541c, 0x5412 + 2 ** 32]) {
    assert.equal(decide(program, { number: 16, args: [0, request] }), EPERM)
  }
  assert.equal(decide(program, { number: 16, args: [0, 0x5413] }), ALLOW)
})

test('the kernel takes at most 4096 instructions', () => {
  assert.equal(program.length % 8, 0)
  assert.ok(program.length / 8 < 4096)
})

test('an architecture without a table is refused', () => {
  assert.throws(() => seccompProgram('riscv64'), /riscv64/)
})
