import { approveDeviceLogin, denyDeviceLogin, getDeviceLogin } from '@hivesync/contracts/device-login.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { proofOptions, proveYourself } from '../../step-up.ts'
import { formatAge } from '../../units.ts'

export const approve = defineCommand({
  name: 'auth approve',
  summary: 'let another device in as yourself, by the code that it shows',
  usage: 'CODE',
  notes: [
    'The code is the one of `hivesync login --browser` on the other device. Approve only what you began yourself: whoever sent you a code gets your account.',
  ],
  options: { deny: { type: 'boolean', summary: 'turn the device away instead' }, ...proofOptions },
  arguments: [1, 1],
  async run(context) {
    const body = { userCode: context.arguments[0] ?? '' }
    const { client } = await connect(context)
    if (context.options.deny) {
      await client.call(denyDeviceLogin, { body })
      return { json: { approved: false }, lines: ['The device is turned away.'] }
    }
    const { deviceName, ip, createdAt } = await client.call(getDeviceLogin, { body })
    const since = formatAge(createdAt, context.machine.now())
    // No note: --quiet must not hide who is let in.
    await context.terminal.warn(
      `Letting in: ${deviceName ?? 'a device without a name'}, from ${ip ?? 'an unknown address'}, ${since}.`,
    )
    const stepUp = await proveYourself(context, client, approveDeviceLogin, { body })
    await client.call(approveDeviceLogin, { body, stepUp })
    return {
      json: { approved: true, deviceName },
      lines: ['The device is in. It is in the list of `hivesync auth sessions`.'],
    }
  },
})
