import { formatNumber } from './format.js'
import type { ReportInput } from './input.js'

/** What stands beside TTFT and ITL in every report: how much of them is the client's own work. */
export interface ClientShare {
  /** '0.21 ms', or 'not measured'. */
  ttft: string
  itl: string
  /** One sentence; when it was not measured, with the fix. */
  sentence: string
  measured: boolean
}

const NOT_MEASURED = 'not measured'
const FIX = 'run without --no-calibrate, or see bench calibrate'

export function clientShare({ summary: { calibration } }: ReportInput): ClientShare {
  if (calibration === null)
    return {
      ttft: NOT_MEASURED,
      itl: NOT_MEASURED,
      sentence: `what the client itself adds to TTFT and ITL was not measured: ${FIX}`,
      measured: false,
    }
  const ms = (value: number) => `${formatNumber(value)} ms`
  const { ttftAddedMsP50, ttftAddedMsP99, itlAddedMsP50, itlAddedMsP99 } = calibration
  return {
    ttft: ms(ttftAddedMsP50),
    itl: ms(itlAddedMsP50),
    sentence:
      `the client itself adds ${ms(ttftAddedMsP50)} to TTFT (p99 ${ms(ttftAddedMsP99)}) and ${ms(itlAddedMsP50)} to ITL (p99 ${ms(itlAddedMsP99)}), ` +
      'measured against a server with a known schedule; it is inside the figures',
    measured: true,
  }
}
