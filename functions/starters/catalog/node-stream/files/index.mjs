import { setTimeout as sleep } from "node:timers/promises";

/** Count, one line at a time. Invoke with /invoke-stream to see the lines arrive. */
export async function* handler(event, context) {
  const count = Number(event?.count ?? 5);
  const pause = Number(event?.pause ?? 300);
  for (let number = 1; number <= count; number += 1) {
    console.log(`sending ${number} of ${count}`);
    yield { number, of: count };
    if (number < count) await sleep(pause);
  }
}
