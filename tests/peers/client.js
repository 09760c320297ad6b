// A client that knows the server's address and nothing else: everything comes from server reflection.
const fs = require('fs');
const crypto = require('crypto');
const home = process.env.PEER_HOME;
const grpc = require(`${home}/node_modules/@grpc/grpc-js`);
const { GrpcReflection } = require(`${home}/node_modules/grpc-js-reflection-client`);

async function service(reflection, name) {
  const descriptor = await reflection.getDescriptorBySymbol(name);
  const packages = descriptor.getPackageObject({ keepCase: true, enums: String, longs: Number, oneofs: true });
  const Client = name.split('.').reduce((found, part) => found[part], packages);
  return new Client(process.argv[2], grpc.credentials.createInsecure());
}

function unary(client, rpc, request) {
  return new Promise((resolve, reject) => client[rpc](request, (error, answer) => (error ? reject(error) : resolve(answer))));
}

function upload(models, bytes) {
  return new Promise((resolve, reject) => {
    const call = models.UploadModel((error, answer) => (error ? reject(error) : resolve(answer)));
    const sha256 = crypto.createHash('sha256').update(bytes).digest('hex');
    call.write({ header: { name: 'node', size_bytes: bytes.length, sha256 } });
    call.write({ chunk: { data: bytes } });
    call.end();
  });
}

function collected(stream) {
  return new Promise((resolve, reject) => {
    const events = [];
    stream.on('data', (event) => events.push(event));
    stream.on('error', reject);
    stream.on('end', () => resolve(events));
  });
}

async function main() {
  const reflection = new GrpcReflection(process.argv[2], grpc.ChannelCredentials.createInsecure());
  const services = await reflection.listServices();
  const models = await service(reflection, 'explainsvc.v1.ModelService');
  const explanations = await service(reflection, 'explainsvc.v1.ExplanationService');
  const { model } = await upload(models, fs.readFileSync(process.argv[3]));
  const x = new Float32Array(36).map((_, index) => Math.sin(index));
  const tensor = { dtype: 'DATA_TYPE_FLOAT32', shape: [1, 1, 6, 6], data: Buffer.from(x.buffer) };
  const inputs = [{ name: 'x', tensor }];
  const target = { index: { positions: [2] } };
  const request = { model_digest: model.digest, inputs, target, method: 'smoothgrad' };
  const { attribution } = await unary(explanations, 'Explain', request);
  const events = await collected(explanations.ExplainStream({ request, interval: { nanos: 1 } }));
  const batch = explanations.ExplainBatch();
  const outcomes = collected(batch);
  batch.write({ id: 'good', request });
  batch.write({ id: 'bad', request: { ...request, method: 'gradiant' } });
  batch.end();
  const refused = await unary(explanations, 'Explain', { ...request, method: 'gradiant' }).catch((error) => error);
  console.log(JSON.stringify({
    services,
    digest: model.digest,
    x: [...x],
    values: attribution.values[0].tensor.data.toString('base64'),
    streamed: events[events.length - 1].result.attribution.values[0].tensor.data.toString('base64'),
    events: [...new Set(events.map((event) => event.event))],
    batch: Object.fromEntries((await outcomes).map((one) => [one.id, one.outcome])),
    refused: { code: refused.code, details: refused.metadata.get('grpc-status-details-bin').length },
  }));
}

main().catch((error) => { console.error(error); process.exit(1); });
