// Requests to our own server. Every failure is an ApiError that carries a problem document.

import { $ } from "./dom.js";

export class ApiError extends Error {
  /** @param problem an RFC 9457 document, or one made here when there was no answer. */
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }
}

const unreachable = (detail) => ({ title: "No answer", status: 0, fault: "platform", detail });

/** Send JSON, receive JSON. Gives up after `seconds`. */
export async function request(method, url, body = undefined, { seconds = 20, signal, headers } = {}) {
  const limit = AbortSignal.timeout(seconds * 1000);
  const options = {
    method,
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
    headers: { Accept: "application/json", "X-CSRFToken": $("meta[name=csrf]").content, ...headers },
  };
  if (body instanceof Blob) {
    options.body = body;
  } else if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  return open(await send(url, options, seconds));
}

async function send(url, options, seconds) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const isLate = error.name === "TimeoutError";
    throw new ApiError(
      unreachable(isLate ? `No answer within ${seconds} s.` : "The server cannot be reached."),
    );
  }
}

async function open(response) {
  if (response.redirected && new URL(response.url).pathname.startsWith("/login")) {
    throw new ApiError({ title: "Signed out", status: 401, detail: "Sign in again in this tab." });
  }
  const text = await response.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    data = null;
  }
  if (response.ok) return data;
  throw new ApiError(
    data?.title ? data : { ...unreachable(`The server answered ${response.status}.`), status: response.status },
  );
}

export const get = (url, options) => request("GET", url, undefined, options);
export const post = (url, body, options) => request("POST", url, body ?? {}, options);
export const remove = (url, options) => request("DELETE", url, undefined, options);
