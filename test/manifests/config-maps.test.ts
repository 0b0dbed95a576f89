import { test } from 'tap'
import type { ConfigMap } from '../../src/api/config-map.ts'
import { FLAGS_CONFIG_MAP } from '../../src/api/names.ts'
import { readCheckTemplate } from '../../src/core/check-template.ts'
import { readFlags } from '../../src/core/feature-flags.ts'
import { parsePathTemplate, renderPathTemplate } from '../../src/core/path-template.ts'
import { readRoleTemplate } from '../../src/core/role-template.ts'
import { manifestOf, readManifests, type Manifest } from '../support/manifests.ts'

const isConfigMap = (manifest: Manifest): manifest is Manifest & ConfigMap => manifest.kind === 'ConfigMap'

const base = await readManifests('base')

const configMap = (name: string): Manifest & ConfigMap => {
  const manifest = manifestOf(base, 'ConfigMap', name)
  if (!isConfigMap(manifest)) throw new Error(`${name} is no ConfigMap`)
  return manifest
}

const pod = { metadata: { name: 'build-1', namespace: 'cicd', labels: { 'tekton.dev/pipelineRun': 'run-7' } } }
const rendered = (template: string): string => renderPathTemplate(parsePathTemplate(template), { object: pod })

await test('what other components share is kept when access-gate is removed', async (t) => {
  const kept = base.filter(({ metadata }) => metadata.labels?.['connectors.alauda.io/uninstall'] === 'keep')
  t.strictSame(kept.map(({ kind, metadata }) => `${kind} ${metadata.name}`), ['Namespace connectors-system', `ConfigMap ${FLAGS_CONFIG_MAP}`])
})

await test('the flags are on, and marked as installed once', async (t) => {
  const flags = configMap(FLAGS_CONFIG_MAP)
  t.strictSame(readFlags(flags), { state: 'on' })
  t.strictSame(flags.metadata.labels, { 'connectors.alauda.io/install': 'once', 'connectors.alauda.io/uninstall': 'keep' })
  t.strictSame(
    base.filter(({ metadata }) => metadata.labels?.['connectors.alauda.io/install'] === 'once').map(({ metadata }) => metadata.name),
    // Nothing that defends: an upgrade without what is installed once must not leave a part of it out.
    [FLAGS_CONFIG_MAP],
  )
})

await test('the template for one Pod grants the path of that Pod', async (t) => {
  const template = readRoleTemplate(configMap('connectors-use-connectors-proxy-in-pod'))
  t.strictSame(template, {
    rules: [
      {
        apiGroups: ['connectors.alauda.io'],
        resources: ['connectors/proxy/v1/pod/{.object.metadata.namespace}/{.object.metadata.name}'],
        verbs: ['*'],
      },
    ],
    unbound: false,
  })
  t.strictSame(template.rules[0]?.resources?.map(rendered), ['connectors/proxy/v1/pod/cicd/build-1'])
})

await test('the template for the whole ServiceAccount says that it is unbound', async (t) => {
  t.strictSame(readRoleTemplate(configMap('connectors-use-connectors-proxy')), {
    rules: [{ apiGroups: ['connectors.alauda.io'], resources: ['connectors/proxy'], verbs: ['*'] }],
    unbound: true,
  })
})

await test('the check template finds the ApprovalTasks of the run that the Pod belongs to', async (t) => {
  const template = configMap('connectors-approvals-in-pipeline')
  const check = readCheckTemplate(template)
  const label = check.selector.matchLabels?.['tekton.dev/pipelineRun'] ?? ''
  t.strictSame(template.metadata.labels, { 'connectors.cpaas.io/templateType': 'accessPolicyCheckTemplate' })
  t.strictSame(check, {
    selector: { objectRef: { apiVersion: 'openshift-pipelines.org/v1alpha1', kind: 'ApprovalTask' }, matchLabels: { 'tekton.dev/pipelineRun': label } },
  })
  t.equal(rendered(label), 'run-7')
})
