import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type BlockFacts, judgeBlock, judgeRun, RULES } from '../../src/statistics/validity.js'

const sound: BlockFacts = {
  windowSecs: 60,
  minWindowSecs: 10,
  interrupted: null,
  stoppedEarly: null,
  trendPercent: 1,
  trendOf: 'throughput',
  inFlightGrowing: false,
  requestsOk: 700,
  requestsFailed: 0,
  allowedErrorShare: 0,
  missingPercentiles: [],
  requestsNeeded: null,
  requestsNotSent: 0,
  openLoop: true,
  askedRps: 10,
  achievedRps: 10.05,
  droppedArrivals: 0,
  dropsDeclared: false,
  wrongLengths: 0,
  stops: 0,
  enforcedLengths: true,
  tokenMismatchRate: 0,
  tokenSource: 'usage',
  ownClient: true,
  scheduleLagP99Ms: 0.5,
  eventLoopDelayP99Ms: 1.5,
  eventLoopUtilization: 0.3,
  ttftP50Ms: 100,
  itlP50Ms: 10,
  calibration: { ttftAddedMsP50: 0.3, ttftAddedMsP99: 2, itlAddedMsP50: 0.02, itlAddedMsP99: 1 },
  cachePolicy: 'cold',
  cachedShare: 0,
  expectedCachedShare: 0,
  cacheContradiction: null,
  cacheUnknown: null,
  throttleReasons: [],
  otherGpuProcesses: 0,
  contextOverflows: 0,
  telemetryCoverage: 0.99,
  engineIntegrity: '',
}

const added = (ttftAddedMsP50: number, itlAddedMsP50: number) => ({
  calibration: { ...sound.calibration!, ttftAddedMsP50, itlAddedMsP50 },
})

interface RedCase {
  change: Partial<BlockFacts>
  says: RegExp
  severity?: 'invalid' | 'note' | 'no-steady-state'
}

const red: Record<string, RedCase[]> = {
  interrupted: [{ change: { interrupted: 'Ctrl-C after 12 s' }, says: /Ctrl-C/ }],
  overload: [
    {
      // A stop that was asked for explains the short window, the missing samples and the growth.
      change: {
        stoppedEarly: 'requests in flight grew from 8 to 64',
        windowSecs: 5,
        missingPercentiles: ['ttft p99 needs 662 samples, has 96'],
        inFlightGrowing: true,
      },
      says: /8 to 64/,
      severity: 'no-steady-state',
    },
  ],
  duration: [{ change: { windowSecs: 5 }, says: /5\.0 s/ }],
  samples: [
    {
      change: { missingPercentiles: ['ttft p99 needs 662 samples, has 96'], requestsNeeded: 662 },
      says: /662.*-n 662/,
    },
    {
      change: { missingPercentiles: ['ttft p99 needs 662 samples, has 96'], requestsNeeded: 662, requestsNotSent: 604 },
      says: /-n 662.*--duration.*604/,
    },
    { change: { requestsOk: 0 }, says: /no request/ },
  ],
  errors: [{ change: { requestsFailed: 1 }, says: /1 of 701/ }],
  load: [
    { change: { achievedRps: 9 }, says: /9\.00/ },
    { change: { droppedArrivals: 3 }, says: /3 arrivals.*--drops allowed/ },
    { change: { droppedArrivals: 3, dropsDeclared: true }, says: /as declared/, severity: 'note' },
    { change: { droppedArrivals: 3, dropsDeclared: true, achievedRps: 9 }, says: /9\.00/ },
  ],
  output_length: [
    { change: { wrongLengths: 1 }, says: /1 requests ended at another length/ },
    { change: { stops: 2 }, says: /2 ended with finish_reason stop/ },
  ],
  tokens: [{ change: { tokenMismatchRate: 0.02 }, says: /2\.0 %/ }],
  client: [
    { change: { scheduleLagP99Ms: 11 }, says: /11\.0 ms late/ },
    { change: { scheduleLagP99Ms: 6 }, says: /6\.0 ms late/ },
    { change: { eventLoopDelayP99Ms: 6 }, says: /delay p99 6\.0/ },
    { change: { eventLoopUtilization: 0.9 }, says: /90 %/ },
    { change: { calibration: null }, says: /no calibration.*--no-calibrate/ },
    { change: added(5.1, 0.02), says: /adds 5\.10 ms.*TTFT p50 of 100/ },
    { change: added(0.3, 0.6), says: /adds 0\.60 ms.*ITL p50 of 10/ },
  ],
  cache: [
    { change: { cachedShare: 0.3 }, says: /30 %/ },
    { change: { cachePolicy: 'shared', cachedShare: 0, expectedCachedShare: 0.5 }, says: /shared/ },
    { change: { cachedShare: null, cacheContradiction: 'it answers salted prompts' }, says: /salted prompts/ },
    { change: { cachedShare: null, cacheUnknown: 'no probe was made' }, says: /not verified/, severity: 'note' },
  ],
  gpu: [
    { change: { throttleReasons: ['SW thermal'] }, says: /SW thermal/ },
    { change: { otherGpuProcesses: 1 }, says: /1 other/ },
  ],
  context: [{ change: { contextOverflows: 20 }, says: /20 requests/ }],
  coverage: [{ change: { telemetryCoverage: 0.94 }, says: /94 %/ }],
  integrity: [{ change: { engineIntegrity: 'block 7 has two owners' }, says: /two owners/ }],
  steady: [
    { change: { trendPercent: -9 }, says: /throughput still moved by -9/, severity: 'no-steady-state' },
    { change: { trendPercent: 12, trendOf: 'TTFT' }, says: /TTFT still moved by 12/, severity: 'no-steady-state' },
    { change: { inFlightGrowing: true }, says: /kept growing/, severity: 'no-steady-state' },
  ],
}

describe('the verdict of a block', () => {
  it('is VALID without reasons when every fact is sound', () => {
    expect(judgeBlock(sound)).toEqual({ validity: 'VALID', reasons: [] })
  })
  it('has a red case for every rule', () => {
    expect(Object.keys(red).sort()).toEqual(Object.keys(RULES).sort())
  })
  for (const [code, cases] of Object.entries(red)) {
    cases.forEach(({ change, says, severity = 'invalid' }, index) => {
      it(`turns ${code} red (${index + 1})`, () => {
        const { validity, reasons } = judgeBlock({ ...sound, ...change })
        expect(reasons.map((reason) => reason.code)).toEqual([code])
        expect(`${reasons[0]!.evidence}; ${reasons[0]!.fix}`).toMatch(says)
        expect(reasons[0]!.fix.length).toBeGreaterThan(5)
        expect(reasons[0]!.severity).toBe(severity)
        const validities = { invalid: 'INVALID', 'no-steady-state': 'NO-STEADY-STATE', note: 'VALID' }
        expect(validity).toBe(validities[severity])
      })
    })
  }
  it('has every rule of a block and of a run in docs/verdict.md, and no other', () => {
    const page = readFileSync(new URL('../../docs/verdict.md', import.meta.url), 'utf8')
    const table = page.slice(page.indexOf('## Rules'), page.indexOf('## Calibration'))
    const codes = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1])
    expect(codes).toEqual([...Object.keys(RULES), 'work', 'answers', 'weights', 'git'])
  })
  it('takes limits as the last sound value', () => {
    const { calibration } = added(5, 0.5)
    const limits = { achievedRps: 10.19, tokenMismatchRate: 0.01, telemetryCoverage: 0.95, trendPercent: 5 }
    expect(judgeBlock({ ...sound, ...limits, calibration, scheduleLagP99Ms: 5 })).toEqual(judgeBlock(sound))
  })
  it('asks nothing of the client of a block that another client measured', () => {
    expect(judgeBlock({ ...sound, ownClient: false, calibration: null }).reasons).toEqual([])
  })
  it('claims nothing of the cache under as-is', () => {
    const cache = { cachePolicy: 'as-is' as const, cachedShare: 0.9, cacheContradiction: 'x', cacheUnknown: 'y' }
    expect(judgeBlock({ ...sound, ...cache }).reasons).toEqual([])
  })
  it('lets answers end where they like when lengths are not enforced', () => {
    expect(judgeBlock({ ...sound, enforcedLengths: false, wrongLengths: 9, stops: 9 }).reasons).toEqual([])
  })
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
  it('notes a dirty work tree of its own with the fix, and never where there is no git', () => {
    const dirty = judgeRun({ ...equal, gitDirty: true }, [])
    expect(dirty.validity).toBe('VALID')
    expect(dirty.reasons).toMatchObject([{ code: 'git', severity: 'note', fix: expect.stringMatching(/commit/) }])
    expect(judgeRun({ ...equal, gitDirty: null }, []).reasons).toEqual([])
  })
})
