import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/webhooks.ts'
import { Webhook } from 'standardwebhooks'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { openKeyring } from '../platform/crypto/keyring.ts'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { deliver, listening, localEgress, tell, webhookFor } from './test-webhooks.ts'
import { pruneWebhooks, rewrapWebhookKeys } from './webhooks.ts'

const day = 86_400_000

describeHive('the keys of a webhook', (open) => {
  const rotate = async (
    hive: Hive,
    { username, teamId }: Person,
    webhookId: string,
    body: { graceSeconds?: number },
  ) => {
    const { token } = await hive.logInAgain(username)
    return hive.call(contract.rotateWebhookSecret, { token, params: { teamId, webhookId }, body })
  }
  /** Which of the secrets verify what was received last. By the clock of the test, which the library does not know. */
  const verifying = (message: { headers: object; body: string } | undefined, secrets: readonly string[]) => {
    const headers = message?.headers as Record<string, string>
    const at = new Date(Number(headers['webhook-timestamp']) * 1000)
    const given = new Set(headers['webhook-signature']?.split(' '))
    return secrets.map((secret) =>
      given.has(new Webhook(secret).sign(headers['webhook-id'] ?? '', at, message?.body ?? '')),
    )
  }

  test('overlap when they are made anew: the old ones sign for a day, or as long as was asked', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const first = await webhookFor(hive, ada, receiver.origin)
    const send = async () => {
      await tell(hive, ada.teamId)
      await deliver(hive)
      return receiver.received.at(-1)
    }
    const second = (await rotate(hive, ada, first.id, {})).body
    assert.notEqual(second.secret, first.secret)
    assert.deepEqual(
      second.keys.map(({ publicKey }) => publicKey),
      [second.publicKey, first.publicKey],
    )
    const secrets = [first.secret, second.secret]
    assert.deepEqual(verifying(await send(), secrets), [true, true])
    hive.clock.advance(day - 1)
    assert.deepEqual(verifying(await send(), secrets), [true, true])
    hive.clock.advance(1)
    assert.deepEqual(verifying(await send(), secrets), [false, true])
    await pruneWebhooks(hive.ctx)
    const keys = await hive.call(contract.getWebhookKeys, { params: { webhookId: first.id } })
    assert.deepEqual(
      keys.body.keys.map(({ publicKey }) => publicKey),
      [second.publicKey],
    )
  })

  test('end at once when that is asked, also those that an earlier change left', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const first = await webhookFor(hive, ada, receiver.origin)
    const second = (await rotate(hive, ada, first.id, {})).body
    const third = (await rotate(hive, ada, first.id, { graceSeconds: 0 })).body
    assert.equal(third.keys.length, 1)
    await tell(hive, ada.teamId)
    await deliver(hive)
    const secrets = [first.secret, second.secret, third.secret]
    assert.deepEqual(verifying(receiver.received.at(-1), secrets), [false, false, true])
  })

  test('are four at most, and a longer grace than a week is refused', async () => {
    await using hive = await open(localEgress)
    const ada = await hive.person('ada')
    const { id } = await webhookFor(hive, ada, 'http://127.0.0.1:9/')
    for (let i = 0; i < 3; i++) assert.equal((await rotate(hive, ada, id, {})).status, 200)
    assert.equal((await rotate(hive, ada, id, {})).problem.code, 'too_many_webhook_keys')
    assert.equal((await rotate(hive, ada, id, { graceSeconds: 0 })).status, 200)
    for (const graceSeconds of [-1, 7 * 86_400 + 1, 1.5])
      assert.equal((await rotate(hive, ada, id, { graceSeconds })).problem.code, 'invalid_request')
  })

  test('are sealed anew under the first secret of the server, after which the old one can go', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const ada = await hive.person('ada')
    const { secret } = await webhookFor(hive, ada, receiver.origin)
    const [before, after] = [generateSecret(), generateSecret()]
    const under = (...secrets: string[]) => ({ ...hive.ctx, keyring: openKeyring(secrets) })
    // The harness has a secret of its own: first the keys come under one that is known here.
    const { sealedSecret, sealedPrivateKey, ...key } = await hive.ctx.db.kysely
      .selectFrom('webhookKeys')
      .selectAll()
      .executeTakeFirstOrThrow()
    const old = openKeyring([before])
    const move = (sealed: string, column: string) => {
      const place = `webhook_keys:${key.id}:${column}`
      return old.seal('webhook', hive.ctx.keyring.open('webhook', sealed, place), place)
    }
    await hive.ctx.db.kysely
      .updateTable('webhookKeys')
      .set({ sealedSecret: move(sealedSecret, 'secret'), sealedPrivateKey: move(sealedPrivateKey, 'private_key') })
      .execute()
    assert.equal(await rewrapWebhookKeys(under(before)), 0)
    assert.equal(await rewrapWebhookKeys(under(before, after)), 0)
    assert.equal(await rewrapWebhookKeys(under(after, before)), 1)
    assert.equal(await rewrapWebhookKeys(under(after)), 0)
    await tell(hive, ada.teamId)
    await deliver({ ...hive, ctx: under(after) })
    assert.deepEqual(verifying(receiver.received[0], [secret]), [true])
    // Under a secret that nobody has any more it stays as it is, and is said.
    assert.equal(await rewrapWebhookKeys(under(before)), 0)
    assert.ok(hive.logged.some((line) => line.includes('webhook_key_unreadable')))
  })
})
