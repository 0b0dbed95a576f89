import type { Connector, ConnectorClass } from '../api/connector.ts'
import { isRecord, own, shown } from './json-shape.ts'
import type { GateFailure } from './mount-gate.ts'
import { connectorKey } from './proxy-address.ts'
import { connectorName } from './request-identity.ts'
import type { VolumeAttributes } from './volume-attributes.ts'

type Configuration = NonNullable<NonNullable<ConnectorClass['spec']>['configurations']>[number]

/** The Connectors of a volume that are of one class, in the order of the volume; never none. */
export interface ClassGroup {
  name: string
  class: ConnectorClass
  connectors: readonly Connector[]
}

/** A template that becomes a file of the volume. */
export interface FileTemplate {
  file: string
  /** As messages call it. */
  label: string
  source: string
  group: ClassGroup
  /** Of its configuration, defaults filled in. */
  params: ReadonlyMap<string, string>
}

type Attributes = Pick<VolumeAttributes, 'configurationNames' | 'configurationParams'>

/** What stops a mount, on its way to renderFiles, which hands it on as data. */
export class FilesFailure extends Error {
  readonly failure: GateFailure

  constructor(failure: GateFailure) {
    super(failure.message)
    this.name = 'FilesFailure'
    this.failure = failure
  }
}

const fail = (code: GateFailure['code'], message: string): FilesFailure => new FilesFailure({ code, message })

/** As the keys of a ConfigMap; two dots first are kubelet's, the names of ours are not for a class to give. */
const FILE_NAME = /^[-._a-zA-Z0-9]{1,253}$/
const RESERVED = ['..', '.access-gate', '.error.json']

const isFileName = (name: string): boolean => FILE_NAME.test(name) && name !== '.' && !RESERVED.some((reserved) => name.startsWith(reserved))

/** By class; the class of the last Connector comes last, since the last one wins. @throws FilesFailure NOT_FOUND */
export const groupByClass = (connectors: readonly Connector[], classes: ReadonlyMap<string, ConnectorClass>): ClassGroup[] => {
  const groups = new Map<string, Connector[]>()
  for (const connector of connectors) {
    const name = connector.spec?.connectorClassName ?? ''
    const before = groups.get(name) ?? []
    groups.delete(name)
    groups.set(name, [...before, connector])
  }
  return [...groups].map(([name, members]) => {
    const found = classes.get(name)
    if (found === undefined) throw fail('NOT_FOUND', `ConnectorClass ${shown(name)} of Connector ${members.map((member) => connectorName(connectorKey(member))).join(', ')} not found`)
    return { name, class: found, connectors: members }
  })
}

const configurationsOf = ({ class: { spec } }: ClassGroup): readonly Configuration[] => spec?.configurations ?? []

const listed = (names: readonly string[]): string => {
  const unique = [...new Set(names)]
  return unique.length === 0 ? 'there is none' : `there is ${unique.map(shown).join(', ')}`
}

/** The value of one parameter. @throws FilesFailure INVALID_ARGUMENT */
const paramValue = (param: NonNullable<Configuration['params']>[number], given: ReadonlyMap<string, string>, configuration: string): string => {
  const where = `parameter ${shown(param.name)} of configuration ${shown(configuration)}`
  const value = given.get(param.name)
  if (value === undefined) {
    if (typeof param.default === 'string') return param.default
    throw fail('INVALID_ARGUMENT', `the ${where} is required: set it in the volume attribute configuration.params`)
  }
  const allowed = own(param, 'enum')
  if (Array.isArray(allowed) && allowed.length > 0 && !allowed.includes(value)) throw fail('INVALID_ARGUMENT', `the ${where} must be one of ${allowed.map(shown).join(', ')}`)
  return value
}

const paramsOf = ({ name, params }: Configuration, attributes: Attributes): ReadonlyMap<string, string> => {
  const given = attributes.configurationParams.get(name) ?? new Map<string, string>()
  return new Map((params ?? []).map((param) => [param.name, paramValue(param, given, name)]))
}

/** Every name must be found, and every parameter must be one that is asked for: a slip of the pen changes nothing silently. */
const checkNames = (groups: readonly ClassGroup[], { configurationNames, configurationParams }: Attributes): void => {
  const all = groups.flatMap(configurationsOf)
  const include = configurationNames.include ?? []
  const lost = include.find((name) => !all.some((configuration) => configuration.name === name))
  if (lost !== undefined) {
    throw fail('NOT_FOUND', `configuration ${shown(lost)} not found in ConnectorClass ${groups.map(({ name }) => shown(name)).join(', ')}: ${listed(all.map(({ name }) => name))}`)
  }
  for (const [name, params] of configurationParams) {
    if (!include.includes(name)) throw fail('INVALID_ARGUMENT', `configuration.params names configuration ${shown(name)}, which configuration.names does not`)
    const declared = all.filter((configuration) => configuration.name === name).flatMap((configuration) => (configuration.params ?? []).map((param) => param.name))
    const stranger = [...params.keys()].find((param) => !declared.includes(param))
    if (stranger !== undefined) throw fail('INVALID_ARGUMENT', `configuration ${shown(name)} has no parameter ${shown(stranger)}: ${listed(declared)}`)
  }
}

const templatesOf = (group: ClassGroup, configuration: Configuration, attributes: Attributes): FileTemplate[] => {
  const params = paramsOf(configuration, attributes)
  const data: unknown = configuration.data ?? {}
  return Object.entries(isRecord(data) ? data : {}).map(([file, source]) => {
    const label = `file ${shown(file)} of configuration ${shown(configuration.name)} of ConnectorClass ${shown(group.name)}`
    if (!isFileName(file)) {
      throw fail('FAILED_PRECONDITION', `${label}: a file name has letters, digits, "-", "_" and ".", at most 253, and does not begin with ${RESERVED.map(shown).join(', ')}`)
    }
    if (typeof source !== 'string') throw fail('FAILED_PRECONDITION', `${label} must be text`)
    return { file, label, source, group, params }
  })
}

/**
 * The templates of the configurations that a volume names, one for each file name: that of a later configuration, and of the class
 * of a later Connector, takes the place of an earlier one.
 * @throws FilesFailure
 */
export const fileTemplates = (groups: readonly ClassGroup[], attributes: Attributes): ReadonlyMap<string, FileTemplate> => {
  checkNames(groups, attributes)
  const found = groups.flatMap((group) =>
    (attributes.configurationNames.include ?? []).flatMap((name) =>
      configurationsOf(group)
        .filter((configuration) => configuration.name === name)
        .flatMap((configuration) => templatesOf(group, configuration, attributes)),
    ),
  )
  return new Map(found.map((template) => [template.file, template]))
}
