import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { renderKubeconfig, writeKubeconfig } from '../../../hack/control-plane/kubeconfig.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

const FACTS = { server: 'https://127.0.0.1:1', caPem: 'PEM', name: 'me' }

await test('a kubeconfig holds server, CA and token, and never skips verification', async (t) => {
  t.strictSame(JSON.parse(renderKubeconfig({ ...FACTS, token: 'secret' })), {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'access-gate', cluster: { server: 'https://127.0.0.1:1', 'certificate-authority-data': 'UEVN' } }],
    users: [{ name: 'me', user: { token: 'secret' } }],
    contexts: [{ name: 'me', context: { cluster: 'access-gate', user: 'me' } }],
    'current-context': 'me',
  })
})

await test('without a token the user is anonymous', async (t) => {
  t.match(JSON.parse(renderKubeconfig(FACTS)), { users: [{ name: 'me', user: {} }] })
})

await test('only its owner reads the file', async (t) => {
  const file = join(await temporaryFolder(t), 'config')
  await writeKubeconfig(file, FACTS)
  t.equal((await stat(file)).mode & 0o777, 0o600)
})
