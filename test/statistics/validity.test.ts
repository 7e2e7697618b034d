import { describe, expect, it } from 'vitest'
import { type BlockFacts, judgeBlock, judgeRun, RULES } from '../../src/statistics/validity.js'

const sound: BlockFacts = {
  windowSecs: 60,
  minWindowSecs: 10,
  interrupted: null,
  trendPercent: 1,
  inFlightGrowing: false,
  requestsOk: 700,
  requestsFailed: 0,
  allowedErrorShare: 0,
  missingPercentiles: [],
  openLoop: true,
  askedRps: 10,
  achievedRps: 10.05,
  droppedArrivals: 0,
  dropsDeclared: false,
  wrongLengths: 0,
  enforcedLengths: true,
  tokenMismatchRate: 0,
  tokenSource: 'usage',
  scheduleLagP99Ms: 0.5,
  eventLoopDelayP99Ms: 1.5,
  eventLoopUtilization: 0.3,
  ttftP50Ms: 100,
  itlP50Ms: 10,
  calibrated: true,
  cachePolicy: 'cold',
  cachedShare: 0,
  expectedCachedShare: 0,
  throttleReasons: [],
  otherGpuProcesses: 0,
  contextOverflows: 0,
  telemetryCoverage: 0.99,
  engineIntegrity: '',
}

const red: Record<keyof typeof RULES, Partial<BlockFacts>[]> = {
  interrupted: [{ interrupted: 'Ctrl-C after 12 s' }],
  duration: [{ windowSecs: 5 }],
  samples: [{ missingPercentiles: ['ttft p99 needs 662, has 96'] }, { requestsOk: 0 }],
  errors: [{ requestsFailed: 1 }],
  load: [{ achievedRps: 9 }, { droppedArrivals: 3 }],
  output_length: [{ wrongLengths: 1 }],
  tokens: [{ tokenMismatchRate: 0.02 }],
  client: [
    { scheduleLagP99Ms: 11 },
    { scheduleLagP99Ms: 6 },
    { eventLoopDelayP99Ms: 6 },
    { eventLoopUtilization: 0.9 },
  ],
  calibration: [{ calibrated: false }],
  cache: [{ cachedShare: 0.3 }, { cachePolicy: 'shared', cachedShare: 0, expectedCachedShare: 0.5 }],
  gpu: [{ throttleReasons: ['SW thermal'] }, { otherGpuProcesses: 1 }],
  context: [{ contextOverflows: 20 }],
  coverage: [{ telemetryCoverage: 0.5 }],
  integrity: [{ engineIntegrity: 'block 7 has two owners' }],
  steady: [{ trendPercent: -9 }, { inFlightGrowing: true }],
}

describe('the verdict of a block', () => {
  it('is VALID without reasons when every fact is sound', () => {
    expect(judgeBlock(sound)).toEqual({ validity: 'VALID', reasons: [] })
  })
  it('has a red case for every rule', () => {
    expect(Object.keys(red).sort()).toEqual(Object.keys(RULES).sort())
  })
  for (const [code, cases] of Object.entries(red)) {
    cases.forEach((change, index) => {
      it(`turns ${code} red (${index + 1})`, () => {
        const verdict = judgeBlock({ ...sound, ...change })
        expect(verdict.reasons.map((reason) => reason.code)).toEqual([code])
        expect(verdict.reasons[0]!.fix.length).toBeGreaterThan(5)
        const severity = verdict.reasons[0]!.severity
        expect(verdict.validity).toBe(
          { invalid: 'INVALID', unverified: 'UNVERIFIED', 'no-steady-state': 'NO-STEADY-STATE', note: 'VALID' }[
            severity
          ],
        )
      })
    })
  }
  it('does not hold a closed loop to an arrival schedule', () => {
    expect(judgeBlock({ ...sound, openLoop: false, scheduleLagP99Ms: 50 }).validity).toBe('VALID')
  })
})

describe('the verdict of a run', () => {
  const equal = {
    outputTokens: [
      { target: 'a', tokens: 100 },
      { target: 'b', tokens: 100 },
    ],
    answersDiffer: null,
    unequalWeights: false,
    gitDirty: false,
  }
  it('is VALID when work and answers are equal', () => {
    expect(judgeRun(equal, []).validity).toBe('VALID')
  })
  it('is INVALID when targets did unequal work', () => {
    expect(
      judgeRun(
        {
          ...equal,
          outputTokens: [
            { target: 'a', tokens: 100 },
            { target: 'b', tokens: 80 },
          ],
        },
        [],
      ).reasons[0]!.code,
    ).toBe('work')
  })
  it('is INVALID when promised answers differ, and only notes it when they are not promised', () => {
    const answers = { base: 'static', head: 'paged', share: 0.01, promised: true }
    expect(judgeRun({ ...equal, answersDiffer: answers }, []).validity).toBe('INVALID')
    expect(judgeRun({ ...equal, answersDiffer: { ...answers, promised: false } }, []).validity).toBe('VALID')
  })
  it('is INVALID for unequal weights', () => {
    expect(judgeRun({ ...equal, unequalWeights: true }, []).validity).toBe('INVALID')
  })
})
