import type { ReportInput } from '../input.js'
import { ceilingTable } from './ceiling.js'
import { deviceTable } from './device.js'
import { engineTimeTable } from './engine-time.js'
import { otherToolsTable } from './other-tools.js'
import { serverTable } from './server.js'
import type { DetailTable } from './table.js'
import { ttftTable } from './ttft.js'

const TABLES = [ttftTable, serverTable, otherToolsTable, deviceTable, ceilingTable, engineTimeTable]

/** The tables that this run has something for, the most asked for first. */
export function detailTables(input: ReportInput): DetailTable[] {
  return TABLES.flatMap((table) => table(input) ?? [])
}
