// The Node.js bootstrap: runs one function in one sandbox and speaks frames on one socket.
//
// `node bootstrap.mjs SOCKET`. No packages, Node.js 16 and later, one file, because it is all
// that is put into a sandbox. docs/runtime-contract.md says what every frame means.

import { AsyncLocalStorage } from 'node:async_hooks';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { format } from 'node:util';

const [HELLO, INIT, READY, INIT_ERROR, INVOKE, REPLY, BEGIN, CHUNK, END, ERROR, CANCEL, CREDIT, LOG, SHUTDOWN] =
  Array.from({ length: 14 }, (_, number) => number);
const PROTOCOL_VERSION = 1;
const FLAG_STREAM = 1;
const PREFIX_BYTES = 12;
const MAX_FRAME_BYTES = 8 * 1024 * 1024;

const RESPONSE_MAX_BYTES = 6 * 1024 * 1024;
const STREAM_WINDOW_BYTES = 256 * 1024;
const LOG_BYTES_PER_CALL = 1024 * 1024;
const LOG_LINE_MAX_BYTES = 16 * 1024;
const LOG_INTERVAL_MS = 200;
const ERROR_MAX_CHARACTERS = 64 * 1024;
const EX_PROTOCOL = 70; // sysexits.h EX_SOFTWARE

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const BYTES_TYPE = 'application/octet-stream';
const LINES_TYPE = 'application/x-ndjson';
const NOTHING = Buffer.alloc(0);

// Taken before user code runs: it may replace them.
const { parse, stringify } = JSON;
const { hrtime } = process;
const now = Date.now;
const setTimer = setTimeout;
const setSoon = setImmediate;
const leave = process.reallyExit.bind(process); // at once: no user code on the way out
const OURS = fileURLToPath(import.meta.url);

class InvalidEvent extends Error {}
class HandlerNotFound extends Error {}

/** A result that cannot be sent; `kind` is the kind of the ERROR frame. */
class Refused extends Error {
  constructor(kind, name, message) {
    super(message);
    this.kind = kind;
    this.name = name;
  }
}

// --- the wire ---------------------------------------------------------------------------

/** One frame as a Buffer; header and body are strings or Buffers. */
function frame(kind, stream, header = '', body = NOTHING) {
  const headerBytes = Buffer.byteLength(header);
  const bodyBytes = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
  const data = Buffer.allocUnsafe(PREFIX_BYTES + headerBytes + bodyBytes);
  data.writeUInt32LE(8 + headerBytes + bodyBytes, 0);
  data[4] = kind;
  data[5] = 0;
  data.writeUInt16LE(headerBytes, 6);
  data.writeUInt32LE(stream, 8);
  data.write(header, PREFIX_BYTES);
  if (typeof body === 'string') data.write(body, PREFIX_BYTES + headerBytes);
  else data.set(body, PREFIX_BYTES + headerBytes);
  return data;
}

/** The control socket: whole frames in, whole writes out. */
class Link {
  #socket;
  #parts = [];
  #have = 0;
  #need = PREFIX_BYTES;

  constructor(socketPath, onFrame) {
    this.#socket = net.connect(socketPath);
    this.#socket.on('data', (chunk) => this.#take(chunk, onFrame));
    for (const event of ['end', 'error', 'close']) this.#socket.on(event, () => leave(0));
    // Out of the process' list of active handles; the timer keeps the process alive instead.
    this.#socket.unref();
    setInterval(() => {}, 2 ** 30);
  }

  send(data) {
    this.#socket.write(data);
  }

  #take(chunk, onFrame) {
    this.#have += chunk.length;
    if (this.#have < this.#need) {
      this.#parts.push(chunk);
      return;
    }
    let data = chunk;
    if (this.#parts.length) {
      this.#parts.push(chunk);
      data = Buffer.concat(this.#parts, this.#have);
      this.#parts = [];
    }
    let at = 0;
    this.#need = PREFIX_BYTES;
    while (data.length - at >= PREFIX_BYTES) {
      const size = data.readUInt32LE(at) + 4;
      if (size > MAX_FRAME_BYTES) leave(EX_PROTOCOL);
      if (data.length - at < size) {
        this.#need = size;
        break;
      }
      onFrame(data, at, at + size);
      at += size;
    }
    this.#have = data.length - at;
    if (this.#have) this.#parts.push(data.subarray(at));
  }
}

// --- logs -------------------------------------------------------------------------------

/** Captured lines of one call, or of the time between calls (stream 0). */
class Log {
  lines = [];
  bytes = 0;
  dropped = 0;
  partial = new Map();

  constructor(stream, sentMs) {
    this.stream = stream;
    this.sentMs = sentMs;
  }

  /** Take text as a stream does: a line ends at its line feed. */
  write(level, text) {
    const lines = ((this.partial.get(level) ?? '') + text).split('\n');
    const rest = lines.pop();
    for (const line of lines) this.add(level, line);
    this.partial.set(level, rest.slice(0, LOG_LINE_MAX_BYTES));
  }

  /** Keep one line, cut to its limit, while the call's budget lasts. */
  add(level, text) {
    const line = cutLine(text);
    const size = Buffer.byteLength(line);
    if (this.bytes + size > LOG_BYTES_PER_CALL) {
      this.dropped += 1;
      return;
    }
    this.bytes += size;
    this.lines.push([now(), level, line]);
  }

  /** What was captured since the last drain as a LOG frame, or null. */
  drain(isLast) {
    if (isLast) {
      for (const [level, rest] of this.partial) if (rest) this.add(level, rest);
      this.partial.clear();
    }
    this.sentMs = now();
    if (!this.lines.length && !this.dropped) return null;
    const data = frame(LOG, this.stream, `[${this.dropped}]`, stringify(this.lines));
    this.lines = [];
    this.dropped = 0;
    return data;
  }
}

function cutLine(text) {
  if (text.length * 3 <= LOG_LINE_MAX_BYTES || Buffer.byteLength(text) <= LOG_LINE_MAX_BYTES) return text;
  const cut = Buffer.from(text).subarray(0, LOG_LINE_MAX_BYTES).toString();
  return cut.endsWith('\ufffd') ? cut.slice(0, -1) : cut; // a character cut in two
}

/** Finds the log that the running code writes to. */
class Logs {
  #link;
  #calls;
  #timer = null;
  #storage = null;
  between = new Log(0, now());

  constructor(link, calls) {
    this.#link = link;
    this.#calls = calls;
  }

  /** Follow asynchronous code from now on: it costs time, so only where calls overlap. */
  followCalls() {
    this.#storage = new AsyncLocalStorage();
  }

  within(call, code) {
    return this.#storage ? this.#storage.run(call, code) : code();
  }

  /** The call that is running here, or the only one there is. */
  running() {
    const followed = this.#storage?.getStore();
    if (followed) return followed;
    return this.#calls.size === 1 ? this.#calls.values().next().value : undefined;
  }

  write(level, text) {
    const call = this.running();
    const log = call && !call.isDone ? (call.log ??= new Log(call.stream, call.startedMs)) : this.between;
    log.write(level, text);
    // Code that never yields gives no timer a chance.
    if (now() - log.sentMs > LOG_INTERVAL_MS) this.#send(log.drain(false));
    this.#timer ??= setTimer(() => this.#tick(), LOG_INTERVAL_MS);
  }

  /** The LOG frames that must precede the last frame of a call. */
  final(call) {
    return [call.log?.drain(true), this.renewBetween()].filter(Boolean);
  }

  /** Drain stream 0 and start its budget anew. */
  renewBetween() {
    const { between } = this;
    if (!between.lines.length && !between.dropped && !between.partial.size) return null;
    const data = between.drain(true);
    this.between = new Log(0, now());
    return data;
  }

  flush() {
    for (const call of this.#calls.values()) this.#send(call.log?.drain(false));
    this.#send(this.renewBetween());
  }

  #tick() {
    this.#timer = null;
    this.flush();
  }

  #send(data) {
    if (data) this.#link.send(data);
  }
}

/** Put the user's output into LOG frames. */
function capture(logs) {
  const levels = { log: 'INFO', info: 'INFO', debug: 'DEBUG', warn: 'WARN', error: 'ERROR' };
  for (const [name, level] of Object.entries(levels)) {
    console[name] = (...values) => logs.write(level, `${format(...values)}\n`);
  }
  console.trace = (...values) => {
    const trace = { name: 'Trace', message: format(...values) };
    Error.captureStackTrace(trace, console.trace);
    logs.write('ERROR', `${trace.stack}\n`);
  };
  captureStream(process.stdout, logs, 'INFO');
  captureStream(process.stderr, logs, 'ERROR');
}

function captureStream(stream, logs, level) {
  stream.write = (data, encoding, done) => {
    const isText = typeof data === 'string';
    logs.write(level, isText ? data : Buffer.from(data).toString());
    const callback = typeof encoding === 'function' ? encoding : done;
    if (callback) process.nextTick(callback);
    return true;
  };
}

// --- calls ------------------------------------------------------------------------------

/** One invocation in flight. */
class Call {
  log = null;
  isDone = false;
  hasBegun = false;
  isCancelled = false;
  credit = STREAM_WINDOW_BYTES;
  aborter = null;
  /** Called when a CANCEL or CREDIT came. */
  wake = null;

  constructor(stream, wantsStream) {
    this.stream = stream;
    this.wantsStream = wantsStream;
    this.started = hrtime();
    this.startedMs = now();
  }

  /** Wait for `promise` unless the call is cancelled before. */
  unlessCancelled(promise) {
    return new Promise((resolve, reject) => {
      this.wake = () => this.isCancelled && reject(cancelled());
      this.wake();
      promise.then(resolve, reject);
    });
  }

  /** Wait until the reader of the stream has taken something. */
  creditGiven() {
    return new Promise((resolve, reject) => {
      this.wake = () => (this.isCancelled ? reject(cancelled()) : this.credit > 0 && resolve());
      this.wake();
    });
  }
}

function cancelled() {
  return new Refused('cancelled', 'Cancelled', 'the call was cancelled');
}

/** What a handler is told about its call, in AWS Lambda's names. */
class Context {
  static shared = {};
  callbackWaitsForEmptyEventLoop = false;
  #call;

  constructor(call, awsRequestId, deadlineMs, traceParent, alias) {
    this.#call = call;
    this.awsRequestId = awsRequestId;
    this.deadlineMs = deadlineMs;
    this.traceParent = traceParent;
    this.alias = alias;
  }

  get functionName() { return Context.shared.functionName; }
  get functionVersion() { return Context.shared.functionVersion; }
  get memoryLimitInMB() { return Context.shared.memoryLimitInMB; }
  get memoryLimitInMb() { return Context.shared.memoryLimitInMB; }
  get logStreamName() { return Context.shared.logStreamName; }
  get logGroupName() { return Context.shared.logGroupName; }
  get log() { return Context.shared.log; }

  get invokedFunctionArn() {
    return `hotswap:${this.functionName}:${this.alias || this.functionVersion}`;
  }

  /** An AbortSignal that fires when the caller has gone. */
  get signal() {
    this.#call.aborter ??= new AbortController();
    if (this.#call.isCancelled) this.#call.aborter.abort();
    return this.#call.aborter.signal;
  }

  getRemainingTimeInMillis() {
    return Math.max(0, this.deadlineMs - now());
  }
}

/** The payload as the handler gets it. */
function parseEvent(contentType, body) {
  const kind = contentType ? contentType.split(';', 1)[0].trim().toLowerCase() : JSON_TYPE;
  if (kind === JSON_TYPE || kind.endsWith('+json')) {
    if (!body.length) return null;
    try {
      return parse(body.utf8Slice(0, body.length));
    } catch (error) {
      throw new InvalidEvent(`the payload is not valid ${kind}: ${error.message}`);
    }
  }
  // A copy: the bytes of a frame share their memory with other frames.
  return kind.startsWith('text/') ? body.toString() : Buffer.from(body);
}

const isBytes = (value) => value instanceof Uint8Array || value instanceof ArrayBuffer;
const asBuffer = (value) =>
  value instanceof ArrayBuffer ? Buffer.from(value) : Buffer.from(value.buffer, value.byteOffset, value.byteLength);

/** Generators, asynchronous iterables and readable streams are sent item by item. */
function isStream(value) {
  if (value === null || typeof value !== 'object') return false;
  if (typeof value[Symbol.asyncIterator] === 'function') return true;
  return typeof value.next === 'function' && typeof value[Symbol.iterator] === 'function';
}

/** Shape a handler's result: `{ status, contentType, headers, body }`, body a string, bytes or a stream. */
function asReply(result) {
  if (isHttpShaped(result)) return asHttpReply(result);
  if (isBytes(result)) return reply(asBuffer(result), BYTES_TYPE);
  return isStream(result) ? reply(result, null) : reply(asJson(result, '$'), JSON_TYPE);
}

function reply(body, contentType, status = 200, headers = null) {
  return { body, contentType, status, headers };
}

function isHttpShaped(result) {
  if (result === null || typeof result !== 'object') return false;
  const status = result.statusCode;
  return Number.isInteger(status) && status >= 100 && status <= 599;
}

function asHttpReply(result) {
  const headers = asHeaders(result.headers ?? {});
  const [body, guess] = asHttpBody(result.body ?? '', Boolean(result.isBase64Encoded));
  const named = headers['content-type'] ?? guess;
  return reply(body, named, result.statusCode, Object.keys(headers).length ? headers : null);
}

function asHttpBody(body, isBase64) {
  if (typeof body === 'string') {
    if (!isBase64) return [body, /^\s*[{[]/.test(body) ? JSON_TYPE : TEXT_TYPE];
    if (!isBase64Text(body)) throw badResult('the string at $.body is not base64');
    return [Buffer.from(body, 'base64'), BYTES_TYPE];
  }
  if (isBytes(body)) return [asBuffer(body), BYTES_TYPE];
  return isStream(body) ? [body, null] : [asJson(body, '$.body'), JSON_TYPE];
}

function isBase64Text(text) {
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
}

function asHeaders(given) {
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw badResult(`${typeName(given)} at $.headers is not an object of strings`);
  }
  const headers = {};
  for (const [name, value] of Object.entries(given)) {
    if (!['string', 'number', 'boolean'].includes(typeof value)) {
      throw badResult(`${typeName(value)} at $.headers[${stringify(name)}] is not a string`);
    }
    headers[name.toLowerCase()] = String(value);
  }
  return headers;
}

function badResult(message) {
  return new Refused('bad-result', 'BadResult', message);
}

/** Compact JSON; what JSON.stringify would drop or change in silence is refused. */
function asJson(value, where) {
  if (value === undefined) return 'null';
  let text;
  try {
    if (isSendable(value)) text = stringify(value);
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
  }
  if (text === undefined) throw badResult(unsendable(value, where));
  return text;
}

/** Whether JSON can hold all of it. `undefined` is left out, as JSON.stringify does. */
function isSendable(value) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
      return true;
    case 'number':
      return Number.isFinite(value);
    case 'object':
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (Array.isArray(value)) return value.every(isSendable);
  if (typeof value.toJSON === 'function') return isSendable(value.toJSON());
  if (isOpaque(value)) return false;
  for (const key of Object.keys(value)) if (!isSendable(value[key])) return false;
  return true;
}

function isOpaque(value) {
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return false;
  return [Map, Set, WeakMap, WeakSet, Promise, RegExp, ArrayBuffer].some((kind) => value instanceof kind) ||
    ArrayBuffer.isView(value) || isStream(value);
}

/** What JSON cannot hold, as a sentence with its path. */
function unsendable(value, where) {
  try {
    return locate(value, where, []) ?? 'the result cannot be sent as JSON';
  } catch {
    return 'the result is nested too deeply for JSON';
  }
}

function locate(value, where, parents) {
  if (typeof value === 'number' && !Number.isFinite(value)) return `the number ${value} at ${where} cannot be sent as JSON`;
  if (value === null || typeof value !== 'object') {
    return isSendable(value) ? null : `${typeName(value)} at ${where} cannot be sent as JSON`;
  }
  if (parents.includes(value)) return `${typeName(value)} at ${where} contains itself, which JSON cannot hold`;
  if (typeof value.toJSON === 'function') return locate(value.toJSON(), where, [...parents, value]);
  if (isOpaque(value)) return `${typeName(value)} at ${where} cannot be sent as JSON`;
  for (const [key, item] of Object.entries(value)) {
    const found = locate(item, where + pathStep(value, key), [...parents, value]);
    if (found) return found;
  }
  return null;
}

function pathStep(container, key) {
  if (Array.isArray(container)) return `[${key}]`;
  return /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${stringify(key)}]`;
}

function typeName(value) {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return value.constructor?.name || 'object';
}

/** One item of a stream as a Buffer, and the content type it suggests. */
function asChunk(item) {
  if (typeof item === 'string') return [Buffer.from(item), TEXT_TYPE];
  if (isBytes(item)) return [asBuffer(item), BYTES_TYPE];
  return [Buffer.from(`${asJson(item, '$')}\n`), LINES_TYPE];
}

// --- errors -----------------------------------------------------------------------------

/** `{errorType, errorMessage, stackTrace}` with the user's frames only. */
function errorObject(error) {
  const isError = error !== null && typeof error === 'object' && 'message' in error;
  const name = isError ? String(error.name || typeName(error)) : typeName(error);
  const message = isError ? String(error.message) : format(error);
  return encodeError(name, message, isError ? stackOf(error) : []);
}

function encodeError(errorType, message, stackTrace) {
  return stringify({ errorType, errorMessage: message.slice(0, ERROR_MAX_CHARACTERS), stackTrace });
}

/** Frames of the error and of its causes, cut to 64 KiB. */
function stackOf(error) {
  const lines = [];
  let left = ERROR_MAX_CHARACTERS / 4; // UTF-8 needs up to four bytes for one
  for (let cause = error, depth = 0; cause?.stack && depth < 10; cause = cause.cause, depth += 1) {
    if (depth) lines.push(`Caused by ${cause.name}: ${cause.message}`.slice(0, 1024));
    for (const line of userFrames(cause)) {
      left -= line.length;
      if (left < 0) return [...lines, '...'];
      lines.push(line);
    }
  }
  return lines;
}

function userFrames(error) {
  const stack = String(error.stack);
  const head = error.name === 'SyntaxError' ? stack.split('\n', 4).filter((line) => !/^\s*at /.test(line)) : [];
  const frames = stack.split('\n').filter((line) => /^\s*at /.test(line));
  return [...head, ...frames.filter((line) => !line.includes(OURS) && !line.includes('node:internal'))];
}

// --- the instance -----------------------------------------------------------------------

let readPeakKib = () => process.resourceUsage().maxRSS;
let peakKib = 0;
let peakReadMs = 0;

const statusPeakKib = () => Number(/VmHWM:\s*(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))[1]);

/** maxRSS also counts what this process was before `exec`: no use where the parent was large. */
function choosePeakReader() {
  try {
    if (readPeakKib() > statusPeakKib()) readPeakKib = statusPeakKib;
  } catch {
    // no /proc here: maxRSS it is
  }
}

/** Peak resident size of this process; read at most every 20 ms. */
function memoryKib() {
  const ms = now();
  if (ms - peakReadMs > 20) {
    peakReadMs = ms;
    peakKib = readPeakKib();
  }
  return peakKib;
}

/** Run what adoption and a first call will run, so that they find it loaded and compiled. */
function warmUp() {
  const event = parseEvent('', Buffer.from('{"a":[1,"b",null]}'));
  const made = asReply({ statusCode: 200, headers: {}, body: event });
  const call = new Call(0, 0);
  frame(REPLY, 0, `[${spent(call)},${replyHeader(made)}]`, made.body);
  errorObject(new Error(format('%s', new Context(call, '', 0, '', '').alias)));
  process.env.TZ = ':UTC';
  try {
    createRequire(OURS)(`${OURS}/none.js`);
  } catch {
    // there is no such file: looking for it is what loads the loader
  }
}

/** One process: waits to be adopted, loads one handler, answers its calls. */
class Instance {
  #calls = new Map();
  #handler = null;
  #isAdopted = false;
  #link;
  #logs;

  constructor(socketPath) {
    this.#link = new Link(socketPath, (data, start, end) => this.#take(data, start, end));
    this.#logs = new Logs(this.#link, this.#calls);
    capture(this.#logs);
    process.on('unhandledRejection', (reason) => this.#stray(reason));
    process.on('uncaughtException', (error) => this.#stray(error));
    process.on('exit', () => this.#logs.flush());
  }

  hello() {
    const hello = [PROTOCOL_VERSION, 'node', process.versions.node, process.pid];
    this.#link.send(frame(HELLO, 0, stringify(hello)));
  }

  #take(data, start, end) {
    const kind = data[start + 4];
    const stream = data.readUInt32LE(start + 8);
    const bodyAt = start + PREFIX_BYTES + data.readUInt16LE(start + 6);
    if (kind === SHUTDOWN) leave(0);
    if (kind === INIT) {
      if (this.#isAdopted) leave(EX_PROTOCOL);
      this.#isAdopted = true;
      this.#adopt(parse(data.toString('utf8', bodyAt, end)));
      return;
    }
    const header = bodyAt > start + PREFIX_BYTES ? parse(data.utf8Slice(start + PREFIX_BYTES, bodyAt)) : [];
    if (kind === INVOKE) this.#run(stream, data[start + 5] & FLAG_STREAM, header, data.subarray(bodyAt, end));
    else this.#control(kind, this.#calls.get(stream), header);
  }

  /** CANCEL and CREDIT. Those of finished calls are late, not wrong. */
  #control(kind, call, header) {
    if (!call) return;
    if (kind === CREDIT) call.credit += header[0];
    if (kind === CANCEL) {
      call.isCancelled = true;
      call.aborter?.abort();
    }
    call.wake?.();
  }

  async #adopt(order) {
    const started = hrtime();
    let failure = null;
    try {
      if (order.concurrency > 1) this.#logs.followCalls();
      this.#handler = await load(order, this.#logs);
    } catch (error) {
      failure = { body: errorObject(error) };
    }
    const header = `[${microseconds(started)},${memoryKib()}]`;
    const answer = failure ? frame(INIT_ERROR, 0, header, failure.body) : frame(READY, 0, header);
    const logs = this.#logs.renewBetween();
    this.#link.send(logs ? Buffer.concat([logs, answer]) : answer);
  }

  #run(stream, wantsStream, header, body) {
    if (!this.#handler) leave(EX_PROTOCOL);
    const call = new Call(stream, wantsStream);
    this.#calls.set(stream, call);
    this.#logs.within(call, () => this.#answer(call, header, body));
  }

  async #answer(call, [requestId, deadlineMs, traceParent, contentType, alias], body) {
    try {
      const event = parseEvent(contentType, body);
      const result = await this.#handler(event, new Context(call, requestId, deadlineMs, traceParent, alias));
      if (call.isDone) return;
      if (call.isCancelled) throw cancelled();
      const made = asReply(result);
      if (call.wantsStream || isStream(made.body)) await this.#sendItems(call, made);
      else this.#sendReply(call, made, made.body);
    } catch (error) {
      this.#sendError(call, error);
    }
  }

  /** Send a stream, or collect it when the caller wants one body. */
  async #sendItems(call, made) {
    const items = iterate(made.body);
    const collected = [];
    let size = 0;
    try {
      for (;;) {
        const { value, done } = await call.unlessCancelled(Promise.resolve(items.next()));
        if (done) break;
        const [chunk, type] = asChunk(await value);
        made.contentType ??= made.headers?.['content-type'] ?? type;
        if (call.wantsStream) await this.#sendChunk(call, made, chunk);
        else size = collect(collected, chunk, size);
      }
    } catch (error) {
      closeItems(items);
      throw error;
    }
    if (call.isDone) return;
    if (call.wantsStream) this.#sendEnd(call, made);
    else this.#sendReply(call, made, Buffer.concat(collected));
  }

  async #sendChunk(call, made, chunk) {
    const frames = [];
    if (!call.hasBegun) frames.push(this.#begin(call, made));
    for (let at = 0; at < chunk.length; ) {
      const end = Math.min(chunk.length, at + Math.min(call.credit, STREAM_WINDOW_BYTES));
      if (end > at) frames.push(frame(CHUNK, call.stream, '', chunk.subarray(at, end)));
      call.credit -= end - at;
      at = end;
      this.#link.send(Buffer.concat(frames.splice(0)));
      if (call.credit <= 0) await call.creditGiven();
      if (call.isDone) throw cancelled();
    }
    await new Promise(setSoon); // lets CANCEL, CREDIT and other calls in
    if (frames.length) this.#link.send(frames[0]);
  }

  #begin(call, made) {
    call.hasBegun = true;
    return frame(BEGIN, call.stream, `[${replyHeader(made)}]`);
  }

  #sendEnd(call, made) {
    const begin = call.hasBegun ? [] : [this.#begin(call, made)];
    this.#close(call, frame(END, call.stream, `[${spent(call)}]`), begin);
  }

  #sendReply(call, made, body) {
    const size = Buffer.byteLength(body);
    if (size > RESPONSE_MAX_BYTES) throw tooLarge(size);
    this.#close(call, frame(REPLY, call.stream, `[${spent(call)},${replyHeader(made)}]`, body));
  }

  #sendError(call, error) {
    if (call.isDone) return;
    const known = call.isCancelled ? cancelled() : error;
    const kind = known instanceof Refused ? known.kind : 'raised';
    const body = known instanceof Refused ? encodeError(known.name, known.message, []) : errorObject(known);
    this.#close(call, frame(ERROR, call.stream, `["${kind}",${spent(call)}]`, body));
  }

  /** Send the last frame of a call, its logs before it in the same write. */
  #close(call, last, before = []) {
    call.isDone = true;
    this.#calls.delete(call.stream);
    const logs = this.#logs.final(call);
    this.#link.send(logs.length || before.length ? Buffer.concat([...before, ...logs, last]) : last);
  }

  /** An error that nobody caught belongs to the call that runs; else it is only logged. */
  #stray(error) {
    const call = this.#logs.running();
    if (call && !call.isDone) this.#sendError(call, error);
    else this.#logs.write('ERROR', `${format(error)}\n`);
  }
}

function replyHeader({ status, contentType, headers }) {
  return `${status},${stringify(contentType ?? BYTES_TYPE)},${headers ? stringify(headers) : 'null'}`;
}

function collect(collected, chunk, size) {
  collected.push(chunk);
  if (size + chunk.length > RESPONSE_MAX_BYTES) throw tooLarge(size + chunk.length);
  return size + chunk.length;
}

function tooLarge(size) {
  const message = `the response has ${size} bytes or more; the limit is ${RESPONSE_MAX_BYTES}`;
  return new Refused('response-too-large', 'ResponseTooLarge', message);
}

function iterate(body) {
  if (typeof body === 'string' || isBytes(body)) return [body][Symbol.iterator]();
  return (body[Symbol.asyncIterator] ?? body[Symbol.iterator]).call(body);
}

/** Let a generator run its `finally`; what it throws there cannot be told any more. */
function closeItems(items) {
  try {
    Promise.resolve(items.return?.()).catch(() => {});
  } catch {
    // the generator's own failure, after its call was answered
  }
}

function microseconds(started) {
  const [seconds, nanoseconds] = hrtime(started);
  return seconds * 1e6 + Math.floor(nanoseconds / 1000);
}

function spent(call) {
  return `${microseconds(call.started)},${memoryKib()}`;
}

// --- loading ----------------------------------------------------------------------------

/** Make the process that of one function version and load its handler. */
async function load(order, logs) {
  Object.assign(process.env, order.environment, {
    AWS_LAMBDA_FUNCTION_NAME: order.function,
    AWS_LAMBDA_FUNCTION_VERSION: String(order.version),
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(order.memoryMib),
    AWS_LAMBDA_LOG_STREAM_NAME: order.logStream,
    LAMBDA_TASK_ROOT: order.code,
    _HANDLER: order.handler,
    TZ: ':UTC',
  });
  Context.shared = {
    functionName: order.function,
    functionVersion: String(order.version),
    memoryLimitInMB: String(order.memoryMib),
    logStreamName: order.logStream,
    logGroupName: `/hotswap/${order.function}`,
    log: contextLog(logs),
  };
  process.chdir(order.code);
  const [file, exported] = findModule(order.code, order.handler);
  return adaptCallback(pick(await importModule(file), exported, order.handler));
}

function contextLog(logs) {
  const writer = (level) => (...values) => logs.write(level, `${format(...values)}\n`);
  return { debug: writer('DEBUG'), info: writer('INFO'), warn: writer('WARN'), error: writer('ERROR') };
}

function findModule(code, handler) {
  const match = /^(.*?)([^/.]+)\.([^/]+)$/.exec(handler);
  if (!match) throw new HandlerNotFound(`handler '${handler}' is not of the form file.export`);
  const [, folder, name, exported] = match;
  const stem = path.resolve(code, folder, name);
  const suffix = ['.js', '.mjs', '.cjs'].find((candidate) => existsSync(stem + candidate));
  if (!suffix) throw new HandlerNotFound(`the code has no file '${folder}${name}.js', '.mjs' or '.cjs'`);
  return [stem + suffix, exported];
}

/** `require` where it can, for it is faster than `import` by a millisecond. */
async function importModule(file) {
  if (!file.endsWith('.mjs')) {
    try {
      return createRequire(file)(file);
    } catch (error) {
      if (!['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE'].includes(error?.code)) throw error;
    }
  }
  return import(pathToFileURL(file).href);
}

function pick(module, exported, handler) {
  let found = module;
  for (const name of exported.split('.')) found = found?.[name] ?? found?.default?.[name];
  if (found === undefined) throw new HandlerNotFound(`the module of '${handler}' does not export '${exported}'`);
  if (typeof found !== 'function') throw new HandlerNotFound(`'${handler}' is ${typeName(found)}, not a function`);
  return found;
}

/** A handler with a third parameter may answer by callback instead of by promise. */
function adaptCallback(handler) {
  if (handler.length < 3) return handler;
  return (event, context) =>
    new Promise((resolve, reject) => {
      const callback = (error, result) => (error ? reject(error) : resolve(result));
      const returned = handler(event, context, callback);
      if (typeof returned?.then === 'function') returned.then(resolve, reject);
    });
}

for (const kind of [InvalidEvent, HandlerNotFound]) kind.prototype.name = kind.name;
const [socketPath] = process.argv.splice(1, 2, 'bootstrap').slice(1);
const instance = new Instance(socketPath);
choosePeakReader();
warmUp();
instance.hello();
