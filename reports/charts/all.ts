import type { ReportInput } from '../input.js'
import type { Chart } from './chart.js'
import { itlEcdf, ttftEcdf } from './ecdf.js'
import { forestChart } from './forest.js'
import { ganttChart } from './gantt.js'
import { latencyChart } from './latency.js'
import { lengthsChart } from './lengths.js'
import { occupancyChart } from './occupancy.js'
import { throughputChart } from './throughput.js'
import { timelineChart } from './timeline.js'
import { ttftPartsChart } from './ttft-parts.js'

const CHARTS = [
  throughputChart,
  latencyChart,
  forestChart,
  ttftEcdf,
  itlEcdf,
  ttftPartsChart,
  ganttChart,
  occupancyChart,
  timelineChart,
  lengthsChart,
]

/** The charts that this run has data for, in the order of the page. */
export function allCharts(input: ReportInput): Chart[] {
  return CHARTS.flatMap((chart) => chart(input) ?? [])
}
