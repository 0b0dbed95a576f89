/** Debian's Chromium without a window, with a profile of its own that is gone afterwards. It ends with this process, however that goes. */
import { chromium, type Browser, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { webPrograms } from '../../hack/test-run/web-programs.ts'

/** Nothing that asks the network of its own accord, and no sandbox, which root cannot have. */
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const WITHIN_MS = 30_000

export interface TestBrowser {
  /** A person's browser: cookies of its own. */
  person(): Promise<Page>
}

/** @param hosts that are on this machine; no other name is known */
export const startChromium = async (t: Pick<Test, 'teardown'>, hosts: readonly string[]): Promise<TestBrowser> => {
  const rules = [...hosts.map((host) => `MAP ${host} 127.0.0.1`), 'MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'].join(', ')
  const browser: Browser = await chromium.launch({ executablePath: webPrograms().chromium, args: [...ARGS, `--host-resolver-rules=${rules}`], timeout: WITHIN_MS })
  t.teardown(() => browser.close())
  return {
    person: async () => {
      const context = await browser.newContext({ ignoreHTTPSErrors: true })
      context.setDefaultTimeout(WITHIN_MS)
      return context.newPage()
    },
  }
}
