import type { Connector, ConnectorClass } from '../api/connector.ts'
import { isCoded } from '../errors.ts'
import { BUILTIN_FILES, builtinFiles } from './builtin-files.ts'
import { plainMessage } from './conditions.ts'
import { FilesFailure, fileTemplates, groupByClass, type FileTemplate } from './configuration-files.ts'
import { parseTemplate } from './go-template/parse.ts'
import { newRenderBudget, renderTemplate } from './go-template/render.ts'
import { compareText, utf8Length } from './go-template/values.ts'
import { shown } from './json-shape.ts'
import type { Mount } from './mount-call.ts'
import type { GateFailure } from './mount-gate.ts'
import { connectorKey, readProxyAddress, type ProxyAddress } from './proxy-address.ts'
import { templateData } from './template-data.ts'

/** What the files of a volume are made of. */
export interface FileFacts {
  mount: Pick<Mount, 'attributes' | 'pod'>
  /** Those of the attributes, in the same order, all found. */
  connectors: readonly Connector[]
  /** By name; needed only where the volume names configurations. */
  classes: ReadonlyMap<string, ConnectorClass>
  /** Of the Pod's ServiceAccount, for the proxy. */
  token: string
}

/** Bytes of all files of a volume, in UTF-8. */
const MAX_VOLUME = 4 * 1024 * 1024
/** Files of configurations. */
const MAX_TEMPLATES = 100
/** Characters of all their templates. */
const MAX_SOURCE = 1024 * 1024

const fail = (code: GateFailure['code'], message: string): FilesFailure => new FilesFailure({ code, message })

/** @throws FilesFailure FAILED_PRECONDITION */
const readProxies = (connectors: readonly Connector[]): Map<Connector, ProxyAddress> =>
  new Map(
    connectors.map((connector) => {
      const reading = readProxyAddress(connector)
      if (!reading.ok) throw fail('FAILED_PRECONDITION', reading.problem)
      return [connector, reading.address]
    }),
  )

/** A name to leave out that no file has would leave a file that is not wanted. @throws FilesFailure INVALID_ARGUMENT */
const checkExcluded = (exclude: readonly string[], names: ReadonlySet<string>): void => {
  const stranger = exclude.find((name) => !names.has(name))
  if (stranger !== undefined) throw fail('INVALID_ARGUMENT', `configuration.names leaves out ${shown(`!${stranger}`)}, and the volume has no such file: there is ${[...names].map(shown).join(', ')}`)
  if ([...names].every((name) => exclude.includes(name))) throw fail('INVALID_ARGUMENT', 'configuration.names leaves out every file of the volume')
}

/** @throws FilesFailure FAILED_PRECONDITION */
const checkTemplates = (templates: readonly FileTemplate[]): void => {
  if (templates.length > MAX_TEMPLATES) throw fail('FAILED_PRECONDITION', `the configurations have ${templates.length} files; a volume holds at most ${MAX_TEMPLATES} of them, name fewer configurations`)
  const size = templates.reduce((sum, { source }) => sum + source.length, 0)
  if (size > MAX_SOURCE) throw fail('FAILED_PRECONDITION', `the templates of the volume have more than ${MAX_SOURCE} characters together; name fewer configurations`)
}

const renderAll = ({ mount: { attributes }, connectors, classes, token }: FileFacts): ReadonlyMap<string, string> => {
  const proxies = readProxies(connectors)
  const last = connectors.at(-1)
  const proxy = last && proxies.get(last)
  if (proxy === undefined) throw fail('INVALID_ARGUMENT', 'the volume names no Connector')
  if (token === '') throw fail('FAILED_PRECONDITION', 'there is no token of the ServiceAccount for the proxy')
  const { include, exclude } = attributes.configurationNames
  const needsClasses = include !== undefined || attributes.configurationParams.size > 0
  const templates: ReadonlyMap<string, FileTemplate> = needsClasses ? fileTemplates(groupByClass(connectors, classes), attributes) : new Map()
  checkExcluded(exclude, new Set([...BUILTIN_FILES, ...templates.keys()]))
  const wanted = [...templates].filter(([file]) => !exclude.includes(file))
  checkTemplates(wanted.map(([, template]) => template))
  const files = new Map(builtinFiles(proxy, connectors.map(connectorKey), token))
  const budget = newRenderBudget('the templates of the volume')
  for (const [file, template] of wanted) files.set(file, renderTemplate(parseTemplate(template.label, template.source), templateData(template, proxies, token), budget))
  const kept = [...files].filter(([name]) => !exclude.includes(name)).toSorted(([left], [right]) => compareText(left, right))
  const bytes = kept.reduce((sum, [, text]) => sum + utf8Length(text), 0)
  if (bytes > MAX_VOLUME) throw fail('FAILED_PRECONDITION', `the files of the volume have more than ${MAX_VOLUME} bytes together; name fewer configurations`)
  return new Map(kept)
}

const failureOf = (error: unknown): GateFailure | undefined => {
  if (error instanceof FilesFailure) return error.failure
  // A template that cannot be rendered is for whoever keeps the ConnectorClass.
  return isCoded(error, 'TEMPLATE_SYNTAX') || isCoded(error, 'TEMPLATE_VALUE') ? { code: 'FAILED_PRECONDITION', message: error.message } : undefined
}

/**
 * The files of a volume, by name, in the order of their names: the built-in ones and those of the configurations that it names,
 * without those that it leaves out. No message holds the token or anything that was made of it.
 */
export const renderFiles = (facts: FileFacts): { ok: true; files: ReadonlyMap<string, string> } | { ok: false; failure: GateFailure } => {
  try {
    return { ok: true, files: renderAll(facts) }
  } catch (error) {
    const failure = failureOf(error)
    if (failure === undefined) throw error
    return { ok: false, failure: { ...failure, message: plainMessage(failure.message) } }
  }
}
