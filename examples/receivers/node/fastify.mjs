/**
 * A receiver of signed webhooks in Fastify, with the Standard Webhooks library.
 *
 *     npm ci && PORT=8080 WEBHOOK_SECRET=whsec_… node fastify.mjs
 */
import process from 'node:process';
import Fastify from 'fastify';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';

const webhook = new Webhook(process.env.WEBHOOK_SECRET);

// An application keeps them in a table, written in one transaction with the work: then neither is
// there without the other.
const ids = new Set();

/** The key that the webhook is about; null when the body is none that is understood here. */
function keyIn(body) {
  try {
    const { key } = JSON.parse(body).data;
    return typeof key === 'string' ? key : null;
  } catch {
    return null;
  }
}

const app = Fastify();

// In a register() of its own: elsewhere bodies are parsed as ever. The signature is of the raw
// body, whatever its type. A key may have 1 MiB; that is the limit of Fastify for a whole body.
app.register(async (hooks) => {
  const options = { parseAs: 'buffer', bodyLimit: 8 * 1024 * 1024 };
  hooks.removeAllContentTypeParsers();
  hooks.addContentTypeParser('*', options, async (_request, body) => body);

  hooks.post('*', async (request, reply) => {
    const body = request.body ?? '';
    webhook.verify(body, request.headers, { jsonParse: false });
    const id = request.headers['webhook-id'];
    const key = keyIn(body);
    if (key === null) {
      // A route with a custom body. The id is not kept, so that a retry can succeed.
      console.error(`${id}: expected JSON with data.key`);
      return reply.code(400).send();
    }
    console.log(id, ids.has(id) ? 'repeat' : JSON.stringify(key));
    ids.add(id);
    return reply.code(204).send();
  });

  hooks.setErrorHandler((error, _request, reply) => {
    if (error instanceof WebhookVerificationError) return reply.code(401).send();
    console.error(error);
    return reply.code(error.statusCode ?? 500).send(); // the webhook comes again
  });
});

await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
