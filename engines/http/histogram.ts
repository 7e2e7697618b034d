/** A Prometheus histogram: counts by upper bound. https://prometheus.io/docs/instrumenting/exposition_formats/ */
export class Histogram {
  readonly #counts: Float64Array
  #sum = 0

  constructor(
    readonly name: string,
    readonly help: string,
    /** Ascending, without +Inf. */
    readonly bounds: readonly number[],
  ) {
    this.#counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let low = 0
    let high = this.bounds.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (value <= this.bounds[middle]) high = middle
      else low = middle + 1
    }
    this.#counts[low]++
    this.#sum += value
  }

  render(labels: string): string {
    let text = `# HELP ${this.name} ${this.help}\n# TYPE ${this.name} histogram\n`
    let total = 0
    for (const [i, bound] of [...this.bounds, '+Inf'].entries()) {
      total += this.#counts[i]
      text += `${this.name}_bucket{${labels},le="${bound}"} ${total}\n`
    }
    return `${text}${this.name}_sum{${labels}} ${this.#sum}\n${this.name}_count{${labels}} ${total}\n`
  }
}
