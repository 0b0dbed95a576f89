import { test } from 'tap'
import { apiServerArguments, etcdArguments } from '../../../hack/control-plane/commands.ts'
import { prepareCredentials } from '../../../hack/control-plane/credentials.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

await test('etcd opens no port: nobody else on the machine reaches its data', async (t) => {
  const urls = etcdArguments().filter((argument) => argument.includes('://'))
  t.equal(urls.length, 5)
  t.strictSame(urls.filter((url) => !url.includes('=unix://')), [])
})

await test('the API server is reached from this machine only, and asks RBAC alone', async (t) => {
  const credentials = await prepareCredentials(await temporaryFolder(t), '10.0.0.1')
  const args = apiServerArguments({ port: 6443, credentials })
  t.ok(args.includes('--bind-address=127.0.0.1'))
  t.ok(args.includes('--secure-port=6443'))
  t.ok(args.includes('--authorization-mode=RBAC'))
  t.strictSame(args.filter((argument) => argument.startsWith('--audit')), [])
  t.strictSame(apiServerArguments({ port: 6443, credentials, more: ['--v=2'] }), [...args, '--v=2'])
})

await test('no token is on a command line, where every user of the machine could read it', async (t) => {
  const credentials = await prepareCredentials(await temporaryFolder(t), '10.0.0.1')
  const text = apiServerArguments({ port: 6443, credentials, audit: { policyFile: '/p', logFile: '/l' } }).join(' ')
  t.notMatch(text, credentials.adminToken)
  t.match(text, '--audit-policy-file=/p --audit-log-path=/l')
})
