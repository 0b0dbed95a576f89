import { test } from 'tap'
import { createClient } from '../../src/kube/client.ts'
import { testControlPlane } from '../support/control-plane.ts'
import { kubeContract, WIDGETS } from '../support/kube-contract.ts'

const cluster = testControlPlane()

const WIDGET_CRD = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.contract.access-gate.test' },
  spec: {
    group: 'contract.access-gate.test',
    scope: 'Namespaced',
    names: { kind: WIDGETS.kind, plural: WIDGETS.plural, singular: 'widget' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
}

await test('the client keeps the contract of the ports on a real API server', async (t) => {
  await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(WIDGET_CRD) })
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=90s', 'crd/widgets.contract.access-gate.test'])
  const kube = await createClient({ kubeconfig: cluster.adminKubeconfig, userAgent: 'access-gate-test' })
  t.teardown(() => kube.close())
  await kubeContract(t, {
    kube,
    namespace: () => cluster.namespace('contract'),
    // The kind is younger than the cluster, and the API server remembers nothing from before it.
    expiredVersion: async () => '1',
  })
})
