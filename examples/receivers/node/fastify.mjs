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

const app = Fastify();

// In a register() of its own: elsewhere JSON bodies are parsed as ever. The signature is of the raw
// body. A key may have 1 MiB; that is the limit of Fastify for a whole body.
app.register(async (hooks) => {
  const options = { parseAs: 'buffer', bodyLimit: 8 * 1024 * 1024 };
  hooks.removeContentTypeParser('application/json');
  hooks.addContentTypeParser('application/json', options, async (_request, body) => body);

  hooks.post('*', async (request, reply) => {
    const { data } = webhook.verify(request.body ?? '', request.headers);
    const id = request.headers['webhook-id'];
    console.log(id, ids.has(id) ? 'repeat' : JSON.stringify(data.key));
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
