// How the stories in JavaScript are told, and what a reader of eventual reads needs.

"use strict";

const EVENTUAL_READ_MS_MAX = 2_000;
const POLL_MS = 20;

/** Run the steps, `{ sentence: async function }`, in order, and end the process: with 1 at the first that throws. */
async function tell(steps) {
  for (const [sentence, step] of Object.entries(steps)) {
    try {
      await step();
    } catch (error) {
      console.error(error);
      console.error(`FAILED: ${sentence}`);
      process.exit(1);
    }
    console.log(`  ${sentence}`);
  }
  process.exit(0);
}

/** Return when `holds()` does; for clients that cannot ask for consistent reads. Throws if it stays false. */
async function eventually(holds) {
  const deadline = performance.now() + EVENTUAL_READ_MS_MAX;
  while (!(await holds())) {
    if (performance.now() > deadline) {
      throw new Error(`not within ${EVENTUAL_READ_MS_MAX} ms: ${holds}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

module.exports = { eventually, tell };
