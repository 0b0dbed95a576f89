import { test } from 'tap'
import { ACCESS_POLICIES, CONNECTORS } from '../../src/kube/resources.ts'
import { approvedBy, controllerBench, putScene, TASKS } from '../support/controller-bench.ts'
import { settle } from '../support/fake-time.ts'
import { APPROVAL_TASKS, connectorOf, linesOf, policyOf, policySpecOf, taskOf } from '../support/request-facts.ts'

await test('objects that were read for an old check grant nothing for a new one of the same policy and name', async (t) => {
  const bench = controllerBench(t)
  putScene(bench)
  const { controller } = await bench.start()
  t.match(linesOf(bench.request()?.status), { check: /^Unknown\/Pending waiting/ })
  await controller.stop()
  // The policy now wants another ApprovalTask, by the same check name; the Connector is another; the old task is approved.
  bench.kube.put(ACCESS_POLICIES, policyOf('ask', policySpecOf([{ name: 'approval', spec: { selector: { objectRef: { ...APPROVAL_TASKS, name: 'security' } } } }])))
  bench.kube.put(CONNECTORS, connectorOf({ uid: 'connector-2' }))
  bench.kube.put(TASKS, taskOf('deploy', 'approved', { status: approvedBy('alice') }))
  await bench.start('two')
  await settle()
  t.strictSame(bench.roles().map(({ metadata }) => metadata.name), [])
  t.match(linesOf(bench.request()?.status), { check: /^Unknown\/Pending there is no ApprovalTask cicd\/security yet/ })
})
