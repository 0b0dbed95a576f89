import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { findWebPrograms, webPrograms, whyNoWeb } from '../../../hack/test-run/web-programs.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'

await test('nginx and Chromium are found where they can be run, and what is missing is named', async (t) => {
  const [first, second] = [await temporaryFolder(t), await temporaryFolder(t)]
  t.strictSame(findWebPrograms([first, second]), { missing: ['nginx', 'chromium'] })
  t.equal(whyNoWeb([first, second]), 'nginx and chromium are not installed')
  await writeFile(join(first, 'nginx'), '', { mode: 0o644 })
  await writeFile(join(second, 'nginx'), '', { mode: 0o755 })
  t.equal(whyNoWeb([first, second]), 'chromium is not installed')
  await writeFile(join(second, 'chromium'), '', { mode: 0o755 })
  t.equal(whyNoWeb([first, second]), undefined)
  t.strictSame(findWebPrograms([first, second]), { programs: { nginx: join(second, 'nginx'), chromium: join(second, 'chromium') } })
  await chmod(join(first, 'nginx'), 0o755)
  t.match(webPrograms({ PATH: `${first}:${second}` }), { nginx: join(first, 'nginx') }, 'the first one counts')
})
