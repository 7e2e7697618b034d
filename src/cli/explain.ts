import { DEFINITIONS } from '../../reports/definitions.js'
import { Failure, nearest } from '../failure.js'

/** `bench explain`: every metric as it is computed here, or one; the report prints the same texts. Throws Failure('usage'). */
export function explainCommand(term: string | undefined): void {
  if (term === undefined) {
    for (const definition of DEFINITIONS) process.stdout.write(`${definition.term}\n    ${definition.meaning}\n`)
    return
  }
  const wanted = term.toLowerCase()
  const found = DEFINITIONS.find((definition) => [definition.term, definition.name.toLowerCase()].includes(wanted))
  if (found === undefined) {
    const terms = DEFINITIONS.map((definition) => definition.term)
    const guess = nearest(term, terms)
    throw new Failure(
      'usage',
      `no definition of '${term}'`,
      guess ? `did you mean '${guess}'?` : `known: ${terms.join(', ')}`,
    )
  }
  process.stdout.write(`${found.term}: ${found.meaning}\n`)
}
