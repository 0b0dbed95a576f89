import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { test } from 'tap'
import type { Connector, ConnectorClass } from '../../src/api/connector.ts'
import { BUILTIN_FILES } from '../../src/core/builtin-files.ts'
import { renderFiles, type FileFacts } from '../../src/core/mount-files.ts'
import type { VolumeAttributes } from '../../src/core/volume-attributes.ts'

const run = promisify(execFile)

const TOKEN = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJidWlsZCJ9.c2lnbmF0dXJl-_x'
const CA = '-----BEGIN CERTIFICATE-----\nZm9yIHRoZSBwcm94eQ==\n-----END CERTIFICATE-----\n'
const OTHER_CA = CA.replace('Zm9y', 'b3Ro')

const encoded = (text: string): string => Buffer.from(text).toString('base64')

interface ConnectorShape {
  name?: string
  className?: string
  url?: string | undefined
  ca?: string | undefined
  params?: { name: string; value: string }[]
}

const connector = ({ name = 'github', className = 'git', url = `http://c-${name}.dev.svc.cluster.local`, ca, params = [] }: ConnectorShape = {}): Connector => ({
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'Connector',
  metadata: { namespace: 'dev', name, annotations: { note: 'not for templates' } },
  spec: {
    connectorClassName: className,
    address: `https://${name}.example.com/`,
    params,
    auth: { name: 'basicAuth', secretRef: { name: 'github-password' } },
    caCertSecretRef: { name: 'github-ca' },
  },
  status: { proxy: { httpAddress: { url, ...(ca === undefined ? {} : { CACerts: encoded(ca) }) } } },
})

const withoutProxy = (): Connector => ({ ...connector(), status: {} })

type Configurations = NonNullable<NonNullable<ConnectorClass['spec']>['configurations']>

const connectorClass = (name: string, configurations: Configurations, proxyAddress?: string): ConnectorClass & { status?: unknown } => ({
  apiVersion: 'connectors.alauda.io/v1alpha1',
  kind: 'ConnectorClass',
  metadata: { name },
  spec: { configurations },
  ...(proxyAddress === undefined ? {} : { status: { proxy: { httpAddress: { url: proxyAddress } } } }),
})

const classes = (...list: ConnectorClass[]): ReadonlyMap<string, ConnectorClass> => new Map(list.map((one) => [one.metadata.name, one]))

interface Given extends Partial<Omit<FileFacts, 'mount'>> {
  include?: string[]
  exclude?: string[]
  params?: Record<string, Record<string, string>>
}

const factsOf = ({ connectors = [connector()], classes: known = new Map(), token = TOKEN, include, exclude = [], params = {} }: Given): FileFacts => {
  const attributes: VolumeAttributes = {
    connectors: connectors.map(({ metadata }) => ({ namespace: metadata.namespace ?? '', name: metadata.name })),
    configurationNames: { include, exclude },
    configurationParams: new Map(Object.entries(params).map(([name, values]) => [name, new Map(Object.entries(values))])),
    tokenExpirationMs: undefined,
  }
  return { mount: { attributes, pod: { namespace: 'dev', name: 'build-1', uid: 'u1' } }, connectors, classes: known, token }
}

/** The files as an object, or `CODE: message`. */
const files = (given: Given): Record<string, string> | string => {
  const rendered = renderFiles(factsOf(given))
  return rendered.ok ? Object.fromEntries(rendered.files) : `${rendered.failure.code}: ${rendered.failure.message}`
}

/** One file that is not built in. */
const rendered = (template: string, given: Given = {}): string | undefined => {
  const made = files({ classes: classes(connectorClass('git', [{ name: 'config', data: { file: template } }])), include: ['config'], ...given })
  return typeof made === 'string' ? made : made['file']
}

const LABEL = 'file "file" of configuration "config" of ConnectorClass "git"'
const URL_OF_ONE = `http://dev%2Fgithub:${TOKEN}@c-github.dev.svc.cluster.local`

await test('the built-in files of one Connector', async (t) => {
  t.strictSame(files({ connectors: [connector({ ca: CA })] }), {
    '.env': `http_proxy=${URL_OF_ONE}\nhttps_proxy=${URL_OF_ONE}\nno_proxy=localhost,127.0.0.1\n`,
    'ca.cert': CA,
    'ca.crt': CA,
    'connector.status.proxyAddress': 'http://c-github.dev.svc.cluster.local',
    'context.proxy.caCert': CA,
    'context.token': TOKEN,
    'http.proxy': URL_OF_ONE,
    'https.proxy': URL_OF_ONE,
  })
})

await test('without a CA there is no file of it', async (t) => {
  t.strictSame(Object.keys(files({})), ['.env', 'connector.status.proxyAddress', 'context.token', 'http.proxy', 'https.proxy'])
})

await test('of several Connectors all are the user of the proxy, and the last one says where it is', async (t) => {
  const made = files({ connectors: [connector({ ca: CA }), connector({ name: 'harbor', className: 'oci', url: 'https://c-harbor.dev.svc:8443/namespaces/dev/connectors/harbor', ca: OTHER_CA })] })
  t.match(made, {
    'https.proxy': `https://dev%2Fgithub,dev%2Fharbor:${TOKEN}@c-harbor.dev.svc:8443`,
    'connector.status.proxyAddress': 'https://c-harbor.dev.svc:8443/namespaces/dev/connectors/harbor',
    'ca.crt': OTHER_CA,
  })
})

await test('.env says the same to a POSIX shell that sources it and to a reader of key=value lines, whatever the token is', async (t) => {
  const token = `a'b"c$d\`e f\\g&h;i*j(k)#l\n!m=%20é~`
  const made = files({ token, connectors: [connector(), connector({ name: 'harbor' })] })
  const path = join(t.testdir({}), 'env file')
  const env = typeof made === 'string' ? made : (made['.env'] ?? '')
  await writeFile(path, env)
  const { stdout } = await run('sh', ['-c', 'set -eua; . "$0"; printf "%s\\n" "http_proxy=$http_proxy" "https_proxy=$https_proxy" "no_proxy=$no_proxy"', path], { env: {} })
  t.equal(stdout, env)
  const exported = await run('sh', ['-c', 'set -a; . "$0"; env', path], { env: {} })
  for (const line of env.split('\n').filter((one) => one !== '')) t.ok(exported.stdout.split('\n').includes(line), line)
  const url = new URL(env.split('\n')[0]?.slice('http_proxy='.length) ?? '')
  t.strictSame([url.protocol, decodeURIComponent(url.username), decodeURIComponent(url.password), url.host], ['http:', 'dev/github,dev/harbor', token, 'c-harbor.dev.svc.cluster.local'])
})

const REFUSED: Record<string, { given: Given; text: string }> = {
  'a Connector without a proxy address': {
    given: { connectors: [withoutProxy()] },
    text: 'FAILED_PRECONDITION: Connector dev/github has no proxy address (status.proxy.httpAddress.url): its ConnectorClass needs a proxy that is ready',
  },
  'one of several without a proxy address': {
    given: { connectors: [withoutProxy(), connector({ name: 'harbor' })] },
    text: 'FAILED_PRECONDITION: Connector dev/github has no proxy address (status.proxy.httpAddress.url): its ConnectorClass needs a proxy that is ready',
  },
  'a proxy address that a shell would run': {
    given: { connectors: [connector({ url: 'http://h;touch$IFS/x' })] },
    text: 'FAILED_PRECONDITION: the proxy address of Connector dev/github (status.proxy.httpAddress.url) must be http:// or https:// with a host',
  },
  'a proxy address of another kind': {
    given: { connectors: [connector({ url: 'socks5://h' })] },
    text: 'FAILED_PRECONDITION: the proxy address of Connector dev/github (status.proxy.httpAddress.url) must be http:// or https:// with a host',
  },
  'a proxy address with a user': {
    given: { connectors: [connector({ url: 'http://u:p@h' })] },
    text: 'FAILED_PRECONDITION: the proxy address of Connector dev/github (status.proxy.httpAddress.url) must name no user; a volume adds its own',
  },
  'a private key among the certificates': {
    given: { connectors: [connector({ ca: '-----BEGIN EC PRIVATE KEY-----' })] },
    text: 'FAILED_PRECONDITION: status.proxy.httpAddress.CACerts of Connector dev/github must be base64 of PEM certificates, without a private key',
  },
  'no token': { given: { token: '' }, text: 'FAILED_PRECONDITION: there is no token of the ServiceAccount for the proxy' },
  'no Connector': { given: { connectors: [] }, text: 'INVALID_ARGUMENT: the volume names no Connector' },
  'a class that is not there': { given: { include: ['config'] }, text: 'NOT_FOUND: ConnectorClass "git" of Connector dev/github not found' },
  'a configuration that is not there': {
    given: { include: ['config', 'nope'], classes: classes(connectorClass('git', [{ name: 'config' }, { name: 'other' }])) },
    text: 'NOT_FOUND: configuration "nope" not found in ConnectorClass "git": there is "config", "other"',
  },
  'a configuration of a class without any': {
    given: { include: ['nope'], classes: classes(connectorClass('git', [])) },
    text: 'NOT_FOUND: configuration "nope" not found in ConnectorClass "git": there is none',
  },
  'a required parameter that is not given': {
    given: { include: ['npmrc'], classes: classes(connectorClass('git', [{ name: 'npmrc', params: [{ name: 'registry' }] }])) },
    text: 'INVALID_ARGUMENT: the parameter "registry" of configuration "npmrc" is required: set it in the volume attribute configuration.params',
  },
  'a parameter that there is not': {
    given: { include: ['npmrc'], params: { npmrc: { registri: 'x' } }, classes: classes(connectorClass('git', [{ name: 'npmrc', params: [{ name: 'registry', default: '' }] }])) },
    text: 'INVALID_ARGUMENT: configuration "npmrc" has no parameter "registri": there is "registry"',
  },
  'parameters of a configuration that is not named': {
    given: { include: ['npmrc'], params: { yarnrc: { registry: 'x' } }, classes: classes(connectorClass('git', [{ name: 'npmrc' }, { name: 'yarnrc' }])) },
    text: 'INVALID_ARGUMENT: configuration.params names configuration "yarnrc", which configuration.names does not',
  },
  'parameters where no configuration is named': {
    given: { params: { npmrc: { registry: 'x' } }, classes: classes(connectorClass('git', [{ name: 'npmrc' }])) },
    text: 'INVALID_ARGUMENT: configuration.params names configuration "npmrc", which configuration.names does not',
  },
  'a file to leave out that there is not': {
    given: { exclude: ['context.tokn'] },
    text: 'INVALID_ARGUMENT: configuration.names leaves out "!context.tokn", and the volume has no such file: there is ".env", "http.proxy", "https.proxy", "context.token", "context.proxy.caCert", "ca.crt", "ca.cert", "connector.status.proxyAddress"',
  },
  'every file left out': {
    given: { exclude: ['.env', 'http.proxy', 'https.proxy', 'context.token', 'context.proxy.caCert', 'ca.crt', 'ca.cert', 'connector.status.proxyAddress'] },
    text: 'INVALID_ARGUMENT: configuration.names leaves out every file of the volume',
  },
}

for (const [name, { given, text }] of Object.entries(REFUSED)) {
  await test(`refused: ${name}`, async (t) => {
    t.equal(files(given), text)
  })
}

for (const file of ['..', '.', '../x', 'a/b', '..data', '.error.json', '.access-gate-new', '', 'a b', 'é', 'x'.repeat(254), '\0']) {
  await test(`no plain file name: ${JSON.stringify(file.slice(0, 20))}`, async (t) => {
    const made = files({ include: ['config'], classes: classes(connectorClass('git', [{ name: 'config', data: { [file]: 'x' } }])) })
    t.match(made, /^FAILED_PRECONDITION: file ".*" of configuration "config" of ConnectorClass "git": a file name has letters, digits/)
  })
}

await test('a parameter is given, has its default, or is one of a few', async (t) => {
  const known = classes(connectorClass('git', [{ name: 'config', data: { file: '{{ .configurations.registry }} {{ .configurations.ssl }}' }, params: [{ name: 'registry' }, { name: 'ssl', default: 'true' }] }]))
  t.equal(rendered('', { classes: known, params: { config: { registry: 'npm' } } }), 'npm true')
  t.equal(rendered('', { classes: known, params: { config: { registry: '', ssl: 'no' } } }), ' no')
  const withEnum: { name: string } & Record<string, unknown> = { name: 'type', enum: ['mirror', 'publish'] }
  const few = classes(connectorClass('git', [{ name: 'config', data: { file: '{{ .configurations.type }}' }, params: [withEnum] }]))
  t.equal(rendered('', { classes: few, params: { config: { type: 'mirror' } } }), 'mirror')
  t.equal(rendered('', { classes: few, params: { config: { type: 'both' } } }), 'INVALID_ARGUMENT: the parameter "type" of configuration "config" must be one of "mirror", "publish"')
})

await test('parameters are seen by their own configuration alone', async (t) => {
  const known = classes(connectorClass('git', [{ name: 'config', data: { file: '{{ .configurations.registry }}' } }, { name: 'other', params: [{ name: 'registry' }] }]))
  t.match(rendered('', { classes: known, include: ['config', 'other'], params: { other: { registry: 'x' } } }), /no value for \.configurations\.registry/)
})

await test('files to leave out are left out at the end, and their templates are not rendered', async (t) => {
  const known = classes(connectorClass('git', [{ name: 'config', data: { 'a.conf': 'a', 'b.conf': '{{ broken' } }]))
  const made = files({ classes: known, include: ['config'], exclude: ['b.conf', 'context.token', '.env', 'http.proxy', 'https.proxy', 'ca.crt'] })
  t.strictSame(made, { 'a.conf': 'a', 'connector.status.proxyAddress': 'http://c-github.dev.svc.cluster.local' })
})

await test('of two files of one name the later configuration wins, and the class of the later Connector before that', async (t) => {
  const git = connectorClass('git', [
    { name: 'one', data: { file: 'git one' } },
    { name: 'two', data: { file: 'git two' } },
  ])
  const oci = connectorClass('oci', [{ name: 'one', data: { file: 'oci one' } }])
  const of = (include: string[], connectors: Connector[]): unknown => rendered('', { classes: classes(git, oci), include, connectors })
  const [first, second, third] = [connector(), connector({ name: 'harbor', className: 'oci' }), connector({ name: 'gitlab' })]
  t.equal(of(['one', 'two'], [first]), 'git two')
  t.equal(of(['two', 'one'], [first]), 'git one')
  t.equal(of(['one', 'two'], [first, second]), 'oci one')
  t.equal(of(['one', 'two'], [second, first]), 'git two')
  t.equal(of(['one', 'two'], [first, second, third]), 'git two')
})

await test('a configuration may take the place of a built-in file', async (t) => {
  const known = classes(connectorClass('git', [{ name: 'config', data: { 'ca.cert': '{{ .context.proxy.caCert }}', 'context.token': 'Bearer {{ .context.token }}' } }]))
  t.match(files({ classes: known, include: ['config'], connectors: [connector({ ca: CA })] }), { 'ca.cert': CA, 'context.token': `Bearer ${TOKEN}` })
})

/** A Connector of class git as templates see it. */
const seen = (name: string, list: object[]): object => ({
  name,
  metadata: { namespace: 'dev', name },
  spec: { connectorClassName: 'git', address: `https://${name}.example.com/`, addressExtensions: [], params: list },
  status: { proxyAddress: `http://c-${name}.dev.svc.cluster.local` },
})

await test('what templates see', async (t) => {
  const params = [{ name: 'sslVerify', value: 'false' }]
  const given: Given = {
    connectors: [connector({ params, ca: CA }), connector({ name: 'harbor', className: 'oci' }), connector({ name: 'gitlab', ca: OTHER_CA })],
    classes: classes(connectorClass('git', [{ name: 'config', data: { file: '{{ toJson . }}' } }], 'http://proxy.system.svc'), connectorClass('oci', [])),
  }
  const text = rendered('', { ...given, include: ['config'] })
  t.strictSame(JSON.parse(text ?? ''), {
    connector: seen('gitlab', []),
    connectors: [seen('github', params), seen('gitlab', [])],
    connectorclass: { name: 'git', proxyAddress: 'http://proxy.system.svc' },
    context: { token: TOKEN, proxy: { caCert: OTHER_CA } },
    configurations: {},
  })
})

await test('nothing of a Secret is seen, not even its name', async (t) => {
  for (const path of ['auth', 'auth.secretRef.name', 'caCertSecretRef', 'caCertSecretRef.name']) t.match(rendered(`{{ .connector.spec.${path} }}`), /^FAILED_PRECONDITION: .*there is no value for/)
  t.notMatch(rendered('{{ toJson . }}'), /github-password|github-ca/)
})

await test('a template that cannot be read or rendered is refused by its name and line', async (t) => {
  t.equal(rendered('a\n{{ env "HOME" }}'), `FAILED_PRECONDITION: ${LABEL}, line 2: the function "env" is not supported`)
  t.equal(
    rendered('{{ .connector.spec.adress }}'),
    `FAILED_PRECONDITION: ${LABEL}, line 1: there is no value for .connector.spec.adress; ask for it with "if", "with" or "default" where it may be missing`,
  )
})

await test('no message holds the token, whatever a template does with it', async (t) => {
  const uses = [
    '{{ index .configurations .context.token }}',
    '{{ .context.token.x }}',
    '{{ printf .context.token 1 }}',
    '{{ printf "%d" .context.token }}',
    '{{ urlParse (print .context.token ":x/%") }}',
    '{{ b64dec .context.token }}',
    '{{ index (dict .context.token 1) "x" }}',
    '{{ list .context.token }}',
    '{{ range .context.token }}{{ end }}',
    '{{ indent .context.token "x" }}',
    '{{ lt .context.token 1 }}',
    '{{ $t := .context.token }}{{ $t.x }}',
    '{{ join "," (list (list .context.token)) }}',
    '{{ ternary 1 2 .context.token }}',
    '{{ first .context.token }}',
    `{{ $x := .context.token }}${'{{ $x = print $x $x }}'.repeat(30)}`,
  ]
  for (const use of uses) {
    const text = rendered(use)
    t.match(text, /^FAILED_PRECONDITION: /, use)
    t.notOk(text?.includes(TOKEN.slice(0, 8)), use)
  }
})

const manyFiles = (count: number, template: string): Record<string, string> => Object.fromEntries(Array.from({ length: count }, (_, at) => [`f${at}`, template]))
const configurationOf = (list: Record<string, string>): Given => ({ include: ['config'], classes: classes(connectorClass('git', [{ name: 'config', data: list }])) })

await test('the files of a volume are bounded together', async (t) => {
  const big = `{{ $x := "aaaaaaaa" }}${'{{ $x = print $x $x }}'.repeat(13)}${'{{ $x }}'.repeat(15)}`
  t.match(files(configurationOf(manyFiles(4, big))), { f0: /^a{983040}$/ })
  t.equal(files(configurationOf(manyFiles(5, big))), 'FAILED_PRECONDITION: the files of the volume have more than 4194304 bytes together; name fewer configurations')
  t.equal(files(configurationOf(manyFiles(101, 'x'))), 'FAILED_PRECONDITION: the configurations have 101 files; a volume holds at most 100 of them, name fewer configurations')
  t.equal(files(configurationOf(manyFiles(5, 'x'.repeat(250_000)))), 'FAILED_PRECONDITION: the templates of the volume have more than 1048576 characters together; name fewer configurations')
})

await test('configurations of the kinds that classes have', async (t) => {
  const gitconfig = `[http]
    extraHeader = Authorization: Basic {{ printf ":%s" .context.token | b64enc }}
{{- range .connectors }}
[url "{{ .status.proxyAddress }}"]
    insteadOf = {{ .spec.address }}
{{- end }}
`
  t.equal(
    rendered(gitconfig, { connectors: [connector(), connector({ name: 'gitlab' })] }),
    `[http]
    extraHeader = Authorization: Basic ${encoded(`:${TOKEN}`)}
[url "http://c-github.dev.svc.cluster.local"]
    insteadOf = https://github.example.com/
[url "http://c-gitlab.dev.svc.cluster.local"]
    insteadOf = https://gitlab.example.com/
`,
  )
  const npmrc = `{{- $proxy := urlParse .connector.status.proxyAddress -}}
{{- $user := printf "%s/%s" .connector.metadata.namespace .connector.metadata.name | urlquery -}}
registry={{ trimSuffix "/" .connector.spec.address }}/
proxy={{ $proxy.scheme }}://{{ $user }}:{{ .context.token }}@{{ $proxy.host }}
`
  t.equal(rendered(npmrc), `registry=https://github.example.com/\nproxy=${URL_OF_ONE}\n`)
})

await test('property: whatever a class says, the outcome is files or one line, alike each time', async () => {
  const name = fc.oneof(fc.constantFrom('a', 'b', '.env', '..', 'x/y', '__proto__', ''), fc.string())
  const template = fc.oneof(fc.string(), fc.constantFrom('{{ .connector.name }}', '{{ .nope }}', '{{', '{{ toJson . }}'))
  const configurations = fc.array(
    fc.record(
      { name, data: fc.dictionary(name, template), params: fc.array(fc.record({ name, default: template }, { requiredKeys: ['name'] }), { maxLength: 2 }) },
      { requiredKeys: ['name'] },
    ),
    { maxLength: 3 },
  )
  fc.assert(
    fc.property(configurations, fc.array(name, { maxLength: 3 }), fc.array(name, { maxLength: 2 }), fc.string(), (list, include, exclude, token) => {
      const given: Given = { classes: classes(connectorClass('git', list)), include, exclude, token }
      const made = files(given)
      const isFine = typeof made === 'string' ? !made.includes('\n') : Object.keys(made).every((file) => /^[-._a-zA-Z0-9]+$/.test(file))
      return isFine && JSON.stringify(made) === JSON.stringify(files(given))
    }),
    { numRuns: 2000 },
  )
})

await test('docs/csi.md names every built-in file and no other', async (t) => {
  const docs = await readFile(new URL('../../docs/csi.md', import.meta.url), 'utf8')
  const [, section = ''] = /\n### Built-in files\n[^|]*((?:\|.*\n)+)/.exec(docs) ?? []
  const named = section.split('\n').flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name))
  t.strictSame(new Set(named), new Set([...BUILTIN_FILES, '.error.json']))
})
