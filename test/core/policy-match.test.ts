import { test } from 'tap'
import type { AccessPolicySpec } from '../../src/api/access-policy.ts'
import { matchingPolicies, selectsConnector } from '../../src/core/policy-match.ts'
import { connectorOf, policyOf, policySpecOf } from '../support/request-facts.ts'

const connector = connectorOf({ labels: { tier: 'prod' } })

const SELECTORS: Record<string, { selector: AccessPolicySpec['connector'] | undefined; is: boolean }> = {
  'no selector selects every Connector': { selector: undefined, is: true },
  'an empty selector selects every Connector': { selector: {}, is: true },
  'empty lists select every Connector': { selector: { names: [], matchLabels: {}, matchExpressions: [] }, is: true },
  'a name selects': { selector: { names: ['other', 'prod-harbor'] }, is: true },
  'another name does not': { selector: { names: ['other'] }, is: false },
  'the empty name does not': { selector: { names: [''] }, is: false },
  'labels select': { selector: { matchLabels: { tier: 'prod' } }, is: true },
  'other labels do not': { selector: { matchLabels: { tier: 'dev' } }, is: false },
  'expressions select': { selector: { matchExpressions: [{ key: 'tier', operator: 'In', values: ['prod'] }] }, is: true },
  'expressions that do not hold do not': { selector: { matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] }, is: false },
  'labels and expressions must both hold': { selector: { matchLabels: { tier: 'prod' }, matchExpressions: [{ key: 'x', operator: 'Exists' }] }, is: false },
  'with names and labels either suffices: by the name': { selector: { names: ['prod-harbor'], matchLabels: { tier: 'dev' } }, is: true },
  'with names and labels either suffices: by the label': { selector: { names: ['other'], matchLabels: { tier: 'prod' } }, is: true },
  'with names and labels neither does not': { selector: { names: ['other'], matchLabels: { tier: 'dev' } }, is: false },
}
for (const [name, { selector, is }] of Object.entries(SELECTORS)) {
  await test(name, async (t) => {
    t.equal(selectsConnector(selector === undefined ? {} : { connector: selector }, connector), is)
  })
}

await test('a Connector without labels is selected by no label', async (t) => {
  t.equal(selectsConnector({ connector: { matchLabels: { tier: 'prod' } } }, connectorOf()), false)
})

await test('policies that ask for checks match, by name', async (t) => {
  const other = { ...policySpecOf(), connector: { names: ['other'] } }
  const policies = [policyOf('b'), policyOf('no-checks', {}), policyOf('c', other), policyOf('a')]
  t.strictSame(
    matchingPolicies(policies, connector).map(({ metadata }) => metadata.name),
    ['a', 'b'],
  )
  t.strictSame(matchingPolicies([], connector), [])
})

await test('a policy with both blocks matches for its checks', async (t) => {
  const roleTemplate = { ref: { configMap: { name: 'in-pod' } } }
  const both = policyOf('both', { ...policySpecOf(), defaultPermission: { roleTemplate, bindingTemplate: { serviceAccounts: [{}] } } })
  const onlyDefault = policyOf('default', { defaultPermission: { roleTemplate, bindingTemplate: { serviceAccounts: [{}] } } })
  t.strictSame(matchingPolicies([both, onlyDefault], connector), [both])
})
