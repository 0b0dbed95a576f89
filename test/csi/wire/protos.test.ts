import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { t as file, test } from 'tap'
import { goModuleFolder } from '../../../hack/go-programs/go-module-folder.ts'

// The Go modules may have to be downloaded first.
file.setTimeout(10 * 60_000)

const ROOT = join(import.meta.dirname, '../../..')

/** Our proto file, and the one that kubelet is built from. */
const PAIRS: Record<string, { ours: string; goModule: string; from: string; path: string }> = {
  'the Container Storage Interface': { ours: 'csi.proto', goModule: 'github.com/container-storage-interface/spec', from: 'hack/csi-sanity', path: 'csi.proto' },
  'the registration of plugins': { ours: 'registration.proto', goModule: 'k8s.io/kubelet', from: 'hack/control-plane/go', path: 'pkg/apis/pluginregistration/v1/api.proto' },
}

/** Everything of a proto file that is on the wire, as lines: methods, fields with their numbers and types, values of enums. */
const wireLines = (source: string): string[] => {
  const { root, package: name = '' } = protobuf.parse(source, new protobuf.Root(), { keepCase: true })
  const lines: string[] = []
  const visit = (item: protobuf.ReflectionObject): void => {
    const path = item.fullName
    if (item instanceof protobuf.Service) for (const method of item.methodsArray) lines.push(`${path}/${method.name}(${method.requestType}) ${method.responseType}`)
    else if (item instanceof protobuf.Enum) for (const [value, number] of Object.entries(item.values)) lines.push(`${path}.${value} = ${number}`)
    else if (item instanceof protobuf.Type) for (const field of item.fieldsArray) lines.push(fieldLine(path, field))
    if (item instanceof protobuf.Namespace) for (const nested of item.nestedArray) visit(nested)
  }
  const found = root.lookup(name)
  if (found !== null) visit(found)
  return lines
}

const fieldLine = (path: string, field: protobuf.Field): string => {
  const type = field.type.replace(/^\.?google\.protobuf\./, '')
  const kind = field instanceof protobuf.MapField ? `map<${field.keyType}, ${type}>` : `${field.repeated ? 'repeated ' : ''}${type}`
  return `${path}: ${kind} ${field.name} = ${field.id}${field.partOf === null ? '' : ` of ${field.partOf.name}`}`
}

for (const [sentence, { ours, goModule, from, path }] of Object.entries(PAIRS))
  await test(`the proto file of ${sentence} says what kubelet's says`, async (t) => {
    const folder = await goModuleFolder(join(ROOT, from), goModule)
    const theirs = new Set(wireLines(await readFile(join(folder, path), 'utf8')))
    const lines = wireLines(await readFile(join(ROOT, 'src/csi/wire', ours), 'utf8'))
    t.ok(lines.length > 5)
    // A message of ours: the well-known type of that name.
    t.strictSame(lines.filter((line) => !theirs.has(line)), ours === 'csi.proto' ? ['.csi.v1.BoolValue: bool value = 1'] : [])
  })
