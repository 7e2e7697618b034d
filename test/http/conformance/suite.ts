import { afterAll, beforeAll, describe } from 'vitest'
import { Api } from './api.js'
import { lengthCases } from './length.js'
import { protocolCases } from './protocol.js'
import { routeCases } from './routes.js'
import { samplingCases } from './sampling.js'
import { sdkCases } from './sdk.js'
import { streamingCases } from './streaming.js'
import type { StartTarget } from './target.js'
import { validationCases } from './validation.js'

/** The 64 cases of one server, whatever engine is behind it. */
export function conformanceSuite(name: string, start: StartTarget): void {
  describe(`conformance: ${name}`, () => {
    let current: Api | null = null
    const api = (): Api => current!
    beforeAll(async () => {
      current = new Api(await start())
    })
    afterAll(() => current?.target.close())
    describe('routes and shapes', () => routeCases(api))
    describe('length, stop, usage', () => lengthCases(api))
    describe('sampling and logprobs', () => samplingCases(api))
    describe('validation', () => validationCases(api, start))
    describe('streaming', () => streamingCases(api, start))
    describe('HTTP and security', () => protocolCases(api, start))
    describe('openai SDK', () => sdkCases(api))
  })
}
