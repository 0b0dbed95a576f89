import { test } from 'tap'
import { fullRequestReview, mutatePodReview, sparseRequestReview, updateReview, validatePodReview } from '../../../hack/bench/admission-reviews.ts'
import { mutateAccessRequest, validateAccessRequest } from '../../../webhooks/access-request.ts'
import { POD_RESOURCE, REQUEST_RESOURCE, type Hook } from '../../../webhooks/hook.ts'
import { mutatePod } from '../../../webhooks/pod.ts'
import { decodeReview } from '../../../webhooks/review.ts'

const pod = { number: 7, namespace: 'bench-0', name: 'build-pod-7', connector: { namespace: 'connectors-shared', name: 'prod-harbor' } }

const answerOf = async (hook: Hook, review: string): Promise<string> => {
  const decoded = decodeReview(JSON.parse(review), hook.resource)
  return decoded.ok ? (await hook.answer(decoded.request)).kind : decoded.message
}

const reviews: Record<string, { review: string; hook: Hook; want: string; bytes: [number, number] }> = {
  'a request as people write it gets a patch': { review: sparseRequestReview(1), hook: mutateAccessRequest, want: 'patched', bytes: [3_000, 5_000] },
  'a whole request is allowed': { review: fullRequestReview(1), hook: validateAccessRequest, want: 'allowed', bytes: [3_000, 5_000] },
  'an update that leaves the spec alone is allowed': { review: updateReview(1), hook: validateAccessRequest, want: 'allowed', bytes: [4_000, 8_000] },
  'a Pod with our volume gets its label': { review: mutatePodReview(pod), hook: mutatePod, want: 'patched', bytes: [3_000, 5_000] },
}

for (const [title, { review, hook, want, bytes }] of Object.entries(reviews)) {
  await test(`${title}, and it has the size of a real one`, async (t) => {
    t.equal(await answerOf(hook, review), want)
    t.ok(review.length > bytes[0] && review.length < bytes[1], `${review.length} bytes`)
    t.match(review, '"managedFields":[{')
  })
}

const podUidOf = (review: string): unknown => JSON.parse(review).request.object.metadata.uid

await test('a Pod has its final name and uid only before the validating hook', async (t) => {
  t.equal(podUidOf(mutatePodReview(pod)), undefined)
  t.match(podUidOf(validatePodReview(pod)), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  t.ok(decodeReview(JSON.parse(validatePodReview(pod)), POD_RESOURCE).ok)
})

await test('each number is another object, and the same one each time', async (t) => {
  for (const review of [sparseRequestReview, fullRequestReview, updateReview]) {
    t.not(review(1), review(2))
    t.equal(review(1), review(1))
    t.ok(decodeReview(JSON.parse(review(3)), REQUEST_RESOURCE).ok)
  }
})
