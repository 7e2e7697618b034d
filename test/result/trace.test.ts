import { expectTypeOf, test } from 'vitest'
import type { StepTraceRecord as EngineTrace } from '../../engines/engine.js'
import type { StepTraceRecord as HarnessTrace } from '../../src/result/trace.js'

test('the harness reads the step trace in the shape the engines write it', () => {
  expectTypeOf<EngineTrace>().toEqualTypeOf<HarnessTrace>()
  const written = {} as EngineTrace
  const read: HarnessTrace = written
  expectTypeOf(read).not.toBeAny()
})
