import { test } from 'tap'
import { labelKeyProblem, labelValueProblem, namespaceProblem, subdomainProblem } from '../../src/core/name-rules.ts'

const SUBDOMAIN = 'must be lower case letters, digits, "-" and ".", beginning and ending with a letter or digit'
const NAMESPACE = 'must be lower case letters, digits and "-", beginning and ending with a letter or digit'
const KEY = 'must be a label key: a name of letters, digits, "-", "_" and ".", with an optional DNS prefix and "/" before it'
const VALUE = 'must be a label value: letters, digits, "-", "_" and ".", beginning and ending with a letter or digit'

const CASES: Record<string, { rule: (value: unknown) => string | undefined; value: unknown; message: string | undefined }> = {
  'a name with dots': { rule: subdomainProblem, value: 'a.b-c.1', message: undefined },
  'a name of 253 characters': { rule: subdomainProblem, value: 'a'.repeat(253), message: undefined },
  'a name that is too long': { rule: subdomainProblem, value: 'a'.repeat(254), message: 'must be at most 253 characters long; got 254' },
  'a name that is missing': { rule: subdomainProblem, value: undefined, message: 'is required' },
  'a name that is null': { rule: subdomainProblem, value: null, message: 'is required' },
  'a name that is a number': { rule: subdomainProblem, value: 7, message: 'must be text; got 7' },
  'an empty name': { rule: subdomainProblem, value: '', message: 'must not be empty' },
  'a name with capitals': { rule: subdomainProblem, value: 'Builder', message: `${SUBDOMAIN}; got "Builder"` },
  'a name with a slash': { rule: subdomainProblem, value: 'a/b', message: `${SUBDOMAIN}; got "a/b"` },
  'a dash beside a dot': { rule: subdomainProblem, value: 'a.-b', message: `${SUBDOMAIN}; got "a.-b"` },
  'a name that ends in a line break': { rule: subdomainProblem, value: 'a\n', message: `${SUBDOMAIN}; got "a\\n"` },
  'a namespace': { rule: namespaceProblem, value: 'team-a', message: undefined },
  'a namespace with a dot': { rule: namespaceProblem, value: 'team.a', message: `${NAMESPACE}; got "team.a"` },
  'a namespace that is too long': { rule: namespaceProblem, value: 'a'.repeat(64), message: 'must be at most 63 characters long; got 64' },
  'a label key': { rule: labelKeyProblem, value: 'app', message: undefined },
  'a label key with a prefix': { rule: labelKeyProblem, value: 'tekton.dev/pipelineRun', message: undefined },
  'a label key with two slashes': { rule: labelKeyProblem, value: 'a/b/c', message: `${KEY}; got "a/b/c"` },
  'a label key with an empty prefix': { rule: labelKeyProblem, value: '/b', message: `${KEY}; got "/b"` },
  'an empty label key': { rule: labelKeyProblem, value: '', message: 'must not be empty' },
  'an empty label value': { rule: labelValueProblem, value: '', message: undefined },
  'a label value with a space': { rule: labelValueProblem, value: 'a b', message: `${VALUE}; got "a b"` },
  'a label value that is too long': { rule: labelValueProblem, value: 'a'.repeat(64), message: 'must be at most 63 characters long; got 64' },
}

for (const [name, { rule, value, message }] of Object.entries(CASES)) {
  await test(name, async (t) => {
    t.equal(rule(value), message)
  })
}
