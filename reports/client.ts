import type { ReportInput } from './input.js'

/** What stands beside TTFT and ITL in every report: how much of them is the client's own work. */
export interface ClientShare {
  /** Milliseconds: '0.21', or null: not measured. */
  ttft: string | null
  itl: string | null
  /** One sentence; when it was not measured, with the fix. */
  sentence: string
}

const FIX = 'run without --no-calibrate, or see bench calibrate'

export function clientShare({ summary: { calibration } }: ReportInput): ClientShare {
  if (calibration === null)
    return {
      ttft: null,
      itl: null,
      sentence: `what the client itself adds to TTFT and ITL was not measured: ${FIX}`,
    }
  const ms = (value: number) => `${hundredths(value)} ms`
  const { ttftAddedMsP50, ttftAddedMsP99, itlAddedMsP50, itlAddedMsP99 } = calibration
  return {
    ttft: hundredths(ttftAddedMsP50),
    itl: hundredths(itlAddedMsP50),
    sentence:
      `the client adds ${ms(ttftAddedMsP50)} to TTFT (p99 ${ms(ttftAddedMsP99)}) and ${ms(itlAddedMsP50)} to ITL (p99 ${ms(itlAddedMsP99)}), ` +
      'measured against a server with a known schedule; it is inside the figures',
  }
}

/** Never '-0.00': a median error of some microseconds has no sign worth a word. */
const hundredths = (value: number): string => (Math.abs(value) < 0.005 ? 0 : value).toFixed(2)
