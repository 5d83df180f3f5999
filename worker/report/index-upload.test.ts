import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createIndexUpload } from './index-upload.ts'

function open() {
  const batches: { batch: number; files: number; bytes: number }[] = []
  const upload = createIndexUpload(async (batch, files) => {
    batches.push({ batch, files: files.length, bytes: Buffer.byteLength(JSON.stringify(files)) })
  })
  return { batches, upload }
}
const file = (name: number, text: string) => ({ path: `f${name}`, language: 'Text', text })

test('batches are numbered from 0 and hold at most 2000 files', async () => {
  const { batches, upload } = open()
  await upload.add(Array.from({ length: 4500 }, (_, name) => file(name, 'x')))
  assert.deepEqual(await upload.finish(), { files: 4500, refused: 0 })
  assert.deepEqual(
    batches.map(({ batch, files }) => [batch, files]),
    [
      [0, 2000],
      [1, 2000],
      [2, 500],
    ],
  )
})

test('a batch stays within 8 MiB of JSON, however the text is escaped', async () => {
  const { batches, upload } = open()
  for (let name = 0; name < 20; name += 1) await upload.add([file(name, '\u0001'.repeat(1024 * 1024))])
  await upload.finish()
  assert.equal(batches.length, 20)
  assert.ok(batches.every(({ bytes }) => bytes <= 8 * 1024 * 1024))
})

test('a file the contract has no room for is left out and counted', async () => {
  const { batches, upload } = open()
  await upload.add([file(1, 'x'.repeat(2 * 1024 * 1024 + 1)), { path: 'p'.repeat(4097), language: null, text: '' }])
  assert.deepEqual(await upload.finish(), { files: 0, refused: 2 })
  assert.deepEqual(batches, [])
})
