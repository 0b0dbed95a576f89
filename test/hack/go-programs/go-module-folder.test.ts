import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type Test } from 'tap'
import { createProgress } from '../../../hack/control-plane/progress.ts'
import { goModuleFolder } from '../../../hack/go-programs/go-module-folder.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

/** Answers as Go does about one module; it has a folder when it was downloaded. */
const FAKE_GO = `echo "$*" >> "$HOME/calls"
case "$1 $2" in
"env GOVERSION") printf 'go1.26.1\\nlocal\\n' ;;
"list -m")
  case "$5" in a.invalid/tool) ;; *) echo "go: module $5: not a known dependency" >&2; exit 1 ;; esac
  case "$4" in *Version*) echo v1.2.3 ;; *) cat "$HOME/downloaded" 2>/dev/null || echo ;; esac ;;
"mod download")
  if [ -e "$HOME/tampered" ]; then echo 'SECURITY ERROR' >&2; exit 1; fi
  echo /cache/a.invalid/tool@v1.2.3 > "$HOME/downloaded" ;;
esac`

const machine = async (t: Test, goScript = FAKE_GO) => {
  const home = await temporaryFolder(t)
  const bin = join(home, 'bin')
  await mkdir(bin)
  await writeFile(join(home, 'go.mod'), 'module a.invalid/a\n\ngo 1.26.0\n\nrequire a.invalid/tool v1.2.3\n')
  await writeFile(join(bin, 'go'), `#!/bin/sh\n${goScript}\n`)
  await chmod(join(bin, 'go'), 0o755)
  const lines: string[] = []
  const progress = createProgress({ write: (text) => lines.push(text.trimEnd()) }, () => 0)
  const folder = (path = 'a.invalid/tool') => goModuleFolder(home, path, { env: { HOME: home, PATH: `${bin}:/bin:/usr/bin` }, progress })
  return { home, folder, lines, calls: async () => (await readFile(join(home, 'calls'), 'utf8')).trim().split('\n') }
}

await test('a module is downloaded once, and held against go.sum every time', async (t) => {
  const { folder, lines, calls } = await machine(t)
  t.equal(await folder(), '/cache/a.invalid/tool@v1.2.3')
  t.strictSame(lines, ['downloading the Go module a.invalid/tool v1.2.3 …', 'downloading the Go module a.invalid/tool v1.2.3: done in 0 s'])
  t.equal(await folder(), '/cache/a.invalid/tool@v1.2.3')
  t.equal(lines.length, 2, 'the second time nothing is said')
  t.strictSame(
    (await calls()).filter((call) => call.startsWith('mod')),
    ['mod download a.invalid/tool@v1.2.3', 'mod download a.invalid/tool@v1.2.3'],
  )
})

await test('a module that is not what go.sum says is refused, also when it is there already', async (t) => {
  const { home, folder } = await machine(t)
  await folder()
  await writeFile(join(home, 'tampered'), '')
  await t.rejects(folder(), { name: 'GoProgramFailure', message: 'go mod download of a.invalid/tool failed; see the lines below\nSECURITY ERROR' })
})

await test('a module that the go.mod does not require is refused', async (t) => {
  const { folder } = await machine(t)
  await t.rejects(folder('a.invalid/other'), { name: 'GoProgramFailure', message: /^go list -m of a.invalid\/other failed; .*\n.*not a known dependency$/ })
})

await test('a machine without Go is told what to install', async (t) => {
  const { folder } = await machine(t, 'exit 1')
  await t.rejects(folder(), { name: 'GoProgramFailure', message: 'the Go module a.invalid/tool cannot be had: Go is not installed; install Go 1.26.0 or newer' })
})
