import { test } from 'tap'
import { aggregatedRules } from '../../../hack/control-plane/stand-in.ts'

const rule = (resource: string) => ({ apiGroups: ['x'], resources: [resource], verbs: ['get'] })
const role = (name: string, labels: Record<string, string>, rules: object[] | null) => ({ metadata: { name, labels }, rules })
const view = (matchLabels: Record<string, string>, rules: object[] = []) => ({
  metadata: { name: 'view' },
  rules,
  aggregationRule: { clusterRoleSelectors: [{ matchLabels }] },
})

await test('an aggregated role has the rules of the roles that it selects, by name, each once', async (t) => {
  const all = [role('b', { a: 'yes' }, [rule('two'), rule('one')]), role('a', { a: 'yes' }, [rule('one')]), role('c', { a: 'no' }, [rule('three')])]
  t.strictSame(aggregatedRules(view({ a: 'yes' }), all), [rule('one'), rule('two')])
})

await test('a role that is labelled for itself does not feed on its own rules', async (t) => {
  const self = { ...view({ a: 'yes' }, [rule('old')]), metadata: { name: 'view', labels: { a: 'yes' } } }
  t.strictSame(aggregatedRules(self, [self]), [])
})

await test('a selected role without rules adds none', async (t) => {
  t.strictSame(aggregatedRules(view({ a: 'yes' }), [role('a', { a: 'yes' }, null)]), [])
})
