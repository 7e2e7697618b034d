/** CLOCK_MONOTONIC in ns as a number: exact to 2 ns for 208 days of uptime, and the same clock in every process of the host. */
export function nowNs(): number {
  return Number(process.hrtime.bigint())
}
