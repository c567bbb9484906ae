"use strict";

// The measured function: reads an order, adds it up, answers with about as much.
exports.handler = async (event) => {
  const total = event.lines.reduce((sum, line) => sum + line.price * line.quantity, 0);
  return { order: event.order, total: Math.round(total * 100) / 100, lines: event.lines };
};

// Waits like a call to a database.
exports.pause = (event) =>
  new Promise((resolve) => setTimeout(() => resolve({}), event.seconds * 1000));
