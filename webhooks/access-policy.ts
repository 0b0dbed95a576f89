import type { Logger } from 'pino'
import type { AccessPolicy, AccessPolicySpec } from '../src/api/access-policy.ts'
import type { AdmissionRequest } from '../src/api/admission-review.ts'
import type { ConfigMap } from '../src/api/config-map.ts'
import { GROUP, SYSTEM_NAMESPACE } from '../src/api/names.ts'
import { readCheckTemplate } from '../src/core/check-template.ts'
import { isRecord } from '../src/core/json-shape.ts'
import { sameJson } from '../src/core/json.ts'
import { policyProblems, policyWarnings } from '../src/core/policy-rules.ts'
import { isCoded, messageOf } from '../src/errors.ts'
import type { Reader } from '../src/kube/ports.ts'
import type { Timers } from '../src/kube/timers.ts'
import { CONFIG_MAPS } from '../src/kube/resources.ts'
import { allowed, ALLOWED, invalid, type Answer } from './answer.ts'
import { withDeadline } from '../src/serving/deadline.ts'
import { POLICY_RESOURCE, type Hook } from './hook.ts'

const HOOK = 'validate-access-policy'

export interface PolicyHookDeps {
  reader: Reader
  logger: Logger
  timers: Timers
  /** How long reading them may take, milliseconds; after it the policy is admitted without the warnings that need them. */
  readMs: number
}

/** More templates than these are not looked at: warnings are a courtesy. */
const MAX_TEMPLATES = 20

interface Referenced {
  /** Of the permission that checks give; its reach decides about warnings. */
  role: string | undefined
  checks: string[]
  all: string[]
}

const referenced = ({ checkGrantedPermission, defaultPermission }: AccessPolicySpec): Referenced => {
  const role = checkGrantedPermission?.spec.roleTemplate.ref.configMap.name
  const checks = (checkGrantedPermission?.spec.checks ?? []).flatMap(({ ref }) => (ref === undefined ? [] : [ref.configMap.name]))
  const defaultRole = defaultPermission?.roleTemplate.ref.configMap.name
  const all = new Set([role, ...checks, defaultRole].filter((name) => name !== undefined))
  return { role, checks, all: [...all].slice(0, MAX_TEMPLATES) }
}

/** In the place of a template that could not be read: not missing, and nothing to warn of. */
const UNREAD: ConfigMap = { metadata: { name: '' } }

type Templates = ReadonlyMap<string, ConfigMap | undefined>

const readTemplates = async ({ reader }: PolicyHookDeps, names: readonly string[]): Promise<Templates> =>
  new Map(await Promise.all(names.map(async (name) => [name, await reader.get(CONFIG_MAPS, SYSTEM_NAMESPACE, name)] as const)))

const checkWarning = (configMap: ConfigMap): string[] => {
  try {
    readCheckTemplate(configMap)
    return []
  } catch (error) {
    if (!isCoded(error)) throw error
    return [messageOf(error)]
  }
}

/** Besides those of core, which speaks of the role template. */
const templateWarnings = ({ role, checks }: Referenced, templates: Templates): string[] =>
  [...templates].flatMap(([name, configMap]) => {
    if (configMap === undefined && name === role) return []
    if (configMap === undefined) return [`ConfigMap ${SYSTEM_NAMESPACE}/${name} does not exist: the policy grants nothing until it does`]
    return checks.includes(name) ? checkWarning(configMap) : []
  })

/** There on CREATE and UPDATE alone, an object as the wire made sure; core's rules judge every field whatever it is. */
const isPolicy = (object: unknown): object is AccessPolicy => isRecord(object)

/** Refuses what cannot work, warns of what has no effect or reaches far. Warnings need reads; a failed read is never a refusal. */
export const validateAccessPolicy = (deps: PolicyHookDeps): Hook => {
  const { logger, timers, readMs } = deps

  const unread = (error: unknown): void => {
    logger.warn({ hook: HOOK, err: error }, 'the templates of a policy could not be read; it is admitted without the warnings that need them')
  }

  const warningsFor = async (spec: AccessPolicySpec): Promise<string[]> => {
    const refs = referenced(spec)
    try {
      const outcome = await withDeadline(timers, readMs, () => readTemplates(deps, refs.all), unread)
      if (outcome.state === 'done') {
        const role = refs.role === undefined ? undefined : outcome.value.get(refs.role)
        return [...policyWarnings(spec, role), ...templateWarnings(refs, outcome.value)]
      }
      unread(new Error(`no answer within ${readMs} ms`))
    } catch (error) {
      unread(error)
    }
    return policyWarnings(spec, UNREAD)
  }

  const answer = ({ name, object, oldObject }: AdmissionRequest): Answer | Promise<Answer> => {
    if (!isPolicy(object) || (isPolicy(oldObject) && sameJson(oldObject.spec, object.spec))) return ALLOWED
    const problems = policyProblems(object.spec)
    if (problems.length > 0) return invalid({ group: GROUP, kind: 'AccessPolicy', name }, problems)
    return warningsFor(object.spec).then(allowed)
  }
  return { path: '/validate/access-policy', name: HOOK, resource: POLICY_RESOURCE, answer }
}
