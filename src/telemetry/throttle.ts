/** Throttle (clock event) reasons by bit, nvml.h `nvmlClocksEventReason*`. The first two are no slowdown of the card's own. */
export const CLOCK_EVENT_REASONS: ReadonlyMap<number, string> = new Map([
  [0x1, 'GPU idle'],
  [0x2, 'application clocks'],
  [0x4, 'SW power cap'],
  [0x8, 'HW slowdown'],
  [0x10, 'sync boost'],
  [0x20, 'SW thermal slowdown'],
  [0x40, 'HW thermal slowdown'],
  [0x80, 'HW power brake'],
  [0x100, 'display clocks'],
])

/**
 * Names of the reasons that mean the card ran slower than asked. Not among them: idle, application and display clocks, and the
 * software power cap, which is the card's normal state under full load at its power limit (it is shown in the time line).
 */
export function throttleNames(reasons: number): string[] {
  const harmless = 0x1 | 0x2 | 0x4 | 0x100
  return [...CLOCK_EVENT_REASONS]
    .filter(([bit]) => (bit & harmless) === 0 && (reasons & bit) !== 0)
    .map(([, name]) => name)
}
