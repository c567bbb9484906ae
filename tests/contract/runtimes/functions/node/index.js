// The suite's functions; `../python/app.py` has the same under the same names.
const { execFileSync } = require('node:child_process');
const { writeFileSync } = require('node:fs');
const { Readable } = require('node:stream');

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const inner = () => {
  throw new TypeError('broken: ü');
};
function* items() {
  yield 'text';
  yield Buffer.from('bytes');
  yield { json: [1, null] };
}

module.exports = {
  echo: (event) => event,
  echo_async: async (event) => event,
  describe: async (event) => (Buffer.isBuffer(event) ? 'bytes' : event === null ? 'NoneType' : { string: 'str', object: 'dict' }[typeof event]),
  context_fields: async (event, context) => ({
    requestId: context.awsRequestId,
    name: context.functionName,
    version: context.functionVersion,
    memory: String(context.memoryLimitInMB),
    arn: context.invokedFunctionArn,
    logStream: context.logStreamName,
    logGroup: context.logGroupName,
    remaining: context.getRemainingTimeInMillis(),
    deadline: context.deadlineMs,
    trace: context.traceParent,
    alias: context.alias,
  }),
  environment: async (event) => Object.fromEntries(event.map((name) => [name, process.env[name] ?? null])),
  where: async () => ({ folder: process.cwd(), hour: new Date(0).getHours() }),
  result: async (event) => event,
  raw: async () => Buffer.from(Array.from({ length: 256 }, (_, number) => number)),
  sized: async (event) => Buffer.alloc(event, 'x'),
  sized_text: async (event) => 'x'.repeat(event),
  nothing: async () => undefined,
  http_bytes: async () => ({ statusCode: 200, headers: { 'Content-Type': 'image/png' }, body: Buffer.from([0x89, 0x50, 0x4e, 0x47]) }),

  bad_set: async () => ({ a: [1, 2, new Set([3])] }),
  bad_nan: async () => ({ a: { 'b c': NaN } }),
  bad_infinity: async () => [Infinity],
  bad_cycle: async () => {
    const value = { a: [] };
    value.a.push(value);
    return value;
  },
  bad_function: async () => ({ f: inner }),
  bad_depth: async () => {
    let value = [];
    for (let depth = 0; depth < 100000; depth += 1) value = [value];
    return value;
  },
  bad_http_body: async () => ({ statusCode: 200, body: { x: new Set([1, 2]) } }),
  bad_base64: async () => ({ statusCode: 200, body: '%%%', isBase64Encoded: true }),
  bad_header: async () => ({ statusCode: 200, headers: { A: ['b'] } }),
  bad_bigint: async () => ({ n: 1n }),

  fails: () => inner(),
  fails_async: async () => {
    await sleep(1);
    inner();
  },
  fails_with_cause: async () => {
    try {
      inner();
    } catch (error) {
      const outer = new Error('outer');
      outer.cause = error;
      throw outer;
    }
  },
  fails_long: async () => {
    throw new Error('m'.repeat(200000));
  },
  dies: async () => {
    console.log('last words');
    process.exit(9);
  },

  prints: async (event, context) => {
    console.log('one');
    console.log('two', 'three');
    console.error('err');
    process.stdout.write(Buffer.from('bytes\n'));
    context.log.debug('d');
    context.log.info('i');
    context.log.warn('w');
    context.log.error('e');
    process.stdout.write('no line feed');
    return 'done';
  },
  prints_async: async () => {
    console.log('before');
    await sleep(500);
    console.log('after');
    return 'done';
  },
  logs_long_line: async () => console.log('ü'.repeat(20000)),
  logs_flood: async () => {
    for (let line = 0; line < 3000; line += 1) console.log('f'.repeat(1023));
  },
  prints_slowly: async () => {
    for (let number = 0; number < 3; number += 1) {
      console.log('tick', number);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 250);
    }
  },
  unicode_surrogate: async () => {
    console.log('\ud800');
    return 'ok';
  },

  items: () => items(),
  items_async: async function* () {
    for (let n = 0; n < 3; n += 1) {
      await sleep(1);
      yield { n };
    }
  },
  items_returned: async () => items(),
  items_none: () => [][Symbol.iterator](),
  items_failing: function* () {
    yield 'first';
    inner();
  },
  items_failing_async: async function* () {
    yield 'first';
    inner();
  },
  items_bad: function* () {
    yield { a: new Set([1]) };
  },
  items_readable: async () => Readable.from(['a', 'b']),
  items_http: async () => ({
    statusCode: 207,
    headers: { 'Content-Type': 'text/event-stream' },
    body: (function* () {
      for (let n = 0; n < 2; n += 1) yield `data: ${n}\n\n`;
    })(),
  }),
  big_items: function* (event) {
    try {
      for (let n = 0; n < event.count; n += 1) yield Buffer.alloc(event.size, 'z');
    } finally {
      writeFileSync(event.mark, 'closed');
    }
  },
  big_items_async: async function* (event) {
    try {
      for (let n = 0; n < event.count; n += 1) yield Buffer.alloc(event.size, 'z');
    } finally {
      writeFileSync(event.mark, 'closed');
    }
  },
  slow_items: async function* () {
    yield 'first';
    await sleep(60000);
    yield 'second';
  },
  abortable: (event, context) =>
    new Promise((resolve, reject) => {
      context.log.info('started');
      context.signal.addEventListener('abort', () => reject(new Error('aborted')));
    }),
  waits: async (event) => {
    console.log(`start ${event.n}`);
    await sleep(event.seconds * 1000);
    console.log(`end ${event.n}`);
    return event.n;
  },

  control_descriptors: async () => Number(execFileSync('sh', ['-c', 'ls -l /proc/self/fd | grep -c socket: || true'], { stdio: ['ignore', 'pipe', 'ignore'] })),
  stray: async () => {
    Promise.reject(new Error('lost'));
    await sleep(60000);
  },
  stray_later: async () => {
    setTimeout(() => {
      throw new Error('late');
    }, 20);
    return 'survived';
  },
  looks_around: async () => [process.argv.slice(2), process._getActiveHandles().some((handle) => handle.remoteAddress !== undefined || handle.constructor.name === 'Socket' && handle.fd > 2), false],
  calls_back: (event, context, callback) => setTimeout(() => callback(null, 'by callback'), 1),
  calls_back_with_error: (event, context, callback) => callback(new RangeError('by callback')),
  throws_text: async () => {
    throw 'just text';
  },
  drops_undefined: async () => ({ a: undefined, b: new Date(0) }),
  not_callable: 5,
  nested: { handler: async () => 'nested' },
};
