/**
 * Greet the caller.
 *
 * @param event the request's JSON, here {"name": "Grace"}
 * @param context request id, deadline, memory and a logger
 */
export const handler = async (event, context) => {
  const name = event?.name ?? "world";
  console.log(`greeting ${name}`); // printed lines appear in the function's log
  return { message: `Hello, ${name}!`, requestId: context.awsRequestId };
};
