import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { explainRefusal, requirePlatform, requireTools } from './prerequisites.ts'
import { openSandbox } from './sandbox.ts'
import { SandboxUnavailable } from './unavailable.ts'

const open = { appArmorRestrictsUserNamespaces: false, unprivilegedUserNamespaces: true, maxUserNamespaces: 1000 }

test('missing programs are named together, with the command that installs them', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-tools-test-'))
  try {
    for (const name of ['prlimit', 'mkfifo', 'chown', 'sh']) {
      writeFileSync(join(folder, name), '')
      chmodSync(join(folder, name), 0o755)
    }
    assert.throws(
      () => requireTools([folder]),
      (error) => {
        assert.ok(error instanceof SandboxUnavailable)
        assert.match(error.reason, /bwrap, setpriv/)
        assert.match(error.fix, /bubblewrap util-linux/)
        return true
      },
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a system without the namespaces or without a table of calls is refused', () => {
  assert.throws(() => requirePlatform('darwin', 'x64'), SandboxUnavailable)
  assert.throws(() => requirePlatform('linux', 'riscv64'), /riscv64/)
  assert.doesNotThrow(() => requirePlatform('linux', 'x64'))
})

test('each switch that forbids user namespaces has its own command', () => {
  const said = 'bwrap: setting up uid map: Permission denied'
  const appArmor = explainRefusal(said, { ...open, appArmorRestrictsUserNamespaces: true })
  assert.match(appArmor.reason, /AppArmor.*setting up uid map/)
  assert.match(appArmor.fix, /apparmor_parser -r/)
  assert.match(explainRefusal(said, { ...open, maxUserNamespaces: 0 }).fix, /max_user_namespaces=15000/)
  assert.match(explainRefusal(said, { ...open, unprivilegedUserNamespaces: false }).fix, /unprivileged_userns_clone=1/)
  assert.match(explainRefusal(said, open).reason, /setting up uid map/)
})

test('a number of slots that makes no sense is refused', async () => {
  for (const slots of [0, -1, 1.5, 1000]) await assert.rejects(openSandbox({ slots }), RangeError)
})
