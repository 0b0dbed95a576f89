import { test } from 'tap'
import { testControlPlane } from '../support/control-plane.ts'

const cluster = testControlPlane()

await test('the API server of the run is ready, as kubectl sees it', async (t) => {
  t.equal((await cluster.kubectl(['get', '--raw', '/readyz'])).stdout, 'ok')
})

await test('a fresh namespace has its default ServiceAccount', async (t) => {
  const namespace = await cluster.namespace('fresh')
  const { stdout } = await cluster.kubectl(['get', 'serviceaccounts', '--namespace', namespace, '--output', 'name'])
  t.match(namespace, /^fresh-/)
  t.equal(stdout, 'serviceaccount/default\n')
})

await test('a ServiceAccount token speaks for that ServiceAccount and nobody else', async (t) => {
  const namespace = await cluster.namespace('whoami')
  const token = await cluster.serviceAccountToken(namespace, 'default', { seconds: 600 })
  const kubeconfig = await cluster.kubeconfigFor({ name: 'someone', token })
  const who = await cluster.kubectl(['auth', 'whoami', '--output', 'jsonpath={.status.userInfo.username}'], { kubeconfig })
  const asAdmin = await cluster.kubectl(['auth', 'can-i', 'create', 'pods', '--namespace', namespace])
  const asSomeone = await cluster.kubectl(['auth', 'can-i', 'create', 'pods', '--namespace', namespace], { kubeconfig, allowFailure: true })
  t.equal(who.stdout, `system:serviceaccount:${namespace}:default`)
  t.equal(asAdmin.stdout, 'yes\n')
  t.match(asSomeone, { stdout: 'no\n', code: 1 })
})
