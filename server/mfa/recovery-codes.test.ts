import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/mfa.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, password } from '../../test/harness/hive.ts'

describeHive('recovery codes', (open) => {
  async function pending(hive: Hive): Promise<string> {
    const reply = (await hive.call(sessions.logIn, { body: { login: 'ada', password } })).body
    assert.ok('mfaRequired' in reply)
    return reply.mfaToken
  }
  const complete = (hive: Hive, mfaToken: string, code: string) =>
    hive.call(sessions.completeMfa, { body: { mfaToken, method: 'recovery', code } })

  test('are ten different ones of 120 bits, and stored as hashes', async () => {
    await using hive = await open()
    const { recoveryCodes } = await hive.enrolTotp(await hive.person('ada'))
    assert.equal(new Set(recoveryCodes).size, 10)
    for (const code of recoveryCodes) assert.match(code, /^[0-9A-HJKMNP-TV-Z]{6}(-[0-9A-HJKMNP-TV-Z]{6}){3}$/)
    const rows = await hive.ctx.db.kysely.selectFrom('recoveryCodes').selectAll().execute()
    const kept = JSON.stringify([rows, await hive.ctx.db.kysely.selectFrom('auditEvents').selectAll().execute()])
    for (const code of recoveryCodes) assert.ok(!kept.includes(code) && !kept.includes(code.replaceAll('-', '')))
    for (const { codeHash } of rows) assert.match(codeHash, /^[0-9a-f]{64}$/)
  })

  test('stand in for the second factor, each once', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { recoveryCodes } = await hive.enrolTotp(ada)
    const [code = '', second = ''] = recoveryCodes
    const first = await complete(hive, await pending(hive), code)
    assert.deepEqual(first.body.session.methods, ['pwd', 'recovery', 'mfa'])
    assert.equal((await complete(hive, await pending(hive), code)).problem.code, 'invalid_code')
    const { recoveryCodesLeft } = (await hive.call(contract.listFactors, { token: ada.token })).body
    assert.equal(recoveryCodesLeft, 9)
    assert.equal((await complete(hive, await pending(hive), second)).status, 200)
  })

  test('of 50 logins at once with one code one is let in', async () => {
    await using hive = await open()
    const { recoveryCodes } = await hive.enrolTotp(await hive.person('ada'))
    const tokens: string[] = []
    for (let i = 0; i < 50; i++) tokens.push(await pending(hive))
    const replies = await Promise.all(tokens.map((mfaToken) => complete(hive, mfaToken, recoveryCodes[0] ?? '')))
    assert.equal(replies.filter(({ status }) => status === 200).length, 1)
    assert.equal(replies.filter(({ status }) => status === 401).length, 49)
  })

  test('are read as people write them: case, spaces, hyphens and look-alikes do not count', async () => {
    await using hive = await open()
    const { recoveryCodes } = await hive.enrolTotp(await hive.person('ada'))
    const [first = '', second = '', third = ''] = recoveryCodes
    const spellings = [
      first.toLowerCase().replaceAll('-', ''),
      ` ${second.replaceAll('-', ' ')} `,
      third.replaceAll('0', 'o').replaceAll('1', 'l'),
    ]
    for (const code of spellings) assert.equal((await complete(hive, await pending(hive), code)).status, 200, code)
  })

  test('another person’s opens nothing', async () => {
    await using hive = await open()
    await hive.enrolTotp(await hive.person('ada'))
    const { recoveryCodes } = await hive.enrolTotp(await hive.person('eve'))
    const reply = await complete(hive, await pending(hive), recoveryCodes[0] ?? '')
    assert.equal(reply.problem.code, 'invalid_code')
  })

  test('new ones make the old ones worthless, and there are none without a factor', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { token } = ada
    const none = { headers: await hive.stepUp(ada, contract.renewRecoveryCodes), token }
    assert.equal((await hive.call(contract.renewRecoveryCodes, none)).problem.code, 'factor_not_found')
    const { recoveryCodes: old } = await hive.enrolTotp(ada)
    const headers = await hive.stepUp(ada, contract.renewRecoveryCodes)
    const { recoveryCodes } = (await hive.call(contract.renewRecoveryCodes, { token, headers })).body
    assert.equal(recoveryCodes.length, 10)
    assert.equal((await complete(hive, await pending(hive), old[0] ?? '')).problem.code, 'invalid_code')
    assert.equal((await complete(hive, await pending(hive), recoveryCodes[0] ?? '')).status, 200)
    assert.match((await hive.mails()).map(({ text }) => text).join(), /recovery codes of your account were replaced/)
  })
})
