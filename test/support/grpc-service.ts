/** A service of gRPC as both sides of `@grpc/grpc-js` take it, written by hand: its messages are JSON. */

import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type ServiceError,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'

export interface Message {
  readonly text: string
  readonly count?: number
}

const serialize = (message: Message): Buffer => Buffer.from(JSON.stringify(message))
const deserialize = (bytes: Buffer): Message => JSON.parse(bytes.toString()) as Message

function method(
  path: string,
  requestStream: boolean,
  responseStream: boolean,
): MethodDefinition<Message, Message> {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: serialize,
    requestDeserialize: deserialize,
    responseSerialize: serialize,
    responseDeserialize: deserialize,
  }
}

export const SERVICE = 'nyro.test.Echo'

export const METHODS = {
  say: method(`/${SERVICE}/Say`, false, false),
  tell: method(`/${SERVICE}/Tell`, false, true),
  hear: method(`/${SERVICE}/Hear`, true, false),
  talk: method(`/${SERVICE}/Talk`, true, true),
} satisfies ServiceDefinition

export type Unary = ServerUnaryCall<Message, Message>

export interface GrpcServer {
  readonly url: string
  close(): void
}

/** @param url where to listen: scheme and address of it */
export async function grpcServer(
  implementation: UntypedServiceImplementation,
  identity?: { readonly cert: string; readonly key: string },
): Promise<GrpcServer> {
  const server = new Server({ 'grpc.max_receive_message_length': -1 })
  server.addService(METHODS, implementation)
  const secure =
    identity === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [
          { cert_chain: Buffer.from(identity.cert), private_key: Buffer.from(identity.key) },
        ])
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', secure, (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  return {
    url: `${identity === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    close: () => server.forceShutdown(),
  }
}

export interface CallOptions {
  readonly metadata?: Record<string, string | Buffer>
  readonly deadline?: number
  /** Of another service. */
  readonly path?: string
}

export interface Answered {
  readonly message: Message
  /** Sent in front of the answer. */
  readonly head: Metadata
  /** Sent behind it. */
  readonly trailers: Metadata
}

/** A client of one gateway, for calls of every kind. */
export class GrpcClient {
  readonly #client: Client

  constructor(url: string, ca?: Buffer) {
    const { port, protocol } = new URL(url)
    const secure = protocol === 'https:'
    // A name, since this client tells TLS whatever it was told
    this.#client = new Client(
      `localhost:${port}`,
      secure ? credentials.createSsl(ca) : credentials.createInsecure(),
      {
        'grpc.max_receive_message_length': -1,
        // Each has its own connection, and what fails is not tried again behind the test's back.
        'grpc.use_local_subchannel_pool': 1,
        'grpc.enable_retries': 0,
      },
    )
  }

  say(message: Message, options: CallOptions = {}): Promise<Answered> {
    return settled(done =>
      this.#client.makeUnaryRequest(
        options.path ?? METHODS.say.path,
        serialize,
        deserialize,
        message,
        metadataOf(options),
        optionsOf(options),
        done,
      ),
    )
  }

  tell(message: Message, options: CallOptions = {}): ClientReadableStream<Message> {
    const { path } = METHODS.tell
    return this.#client.makeServerStreamRequest(
      path,
      serialize,
      deserialize,
      message,
      metadataOf(options),
      optionsOf(options),
    )
  }

  hear(write: (call: ClientWritableStream<Message>) => void, options: CallOptions = {}): Promise<Answered> {
    return settled(done => {
      const { path } = METHODS.hear
      const call = this.#client.makeClientStreamRequest(
        path,
        serialize,
        deserialize,
        metadataOf(options),
        optionsOf(options),
        done,
      )
      write(call)
      return call
    })
  }

  talk(options: CallOptions = {}): ClientDuplexStream<Message, Message> {
    const { path } = METHODS.talk
    return this.#client.makeBidiStreamRequest(
      path,
      serialize,
      deserialize,
      metadataOf(options),
      optionsOf(options),
    )
  }

  close(): void {
    this.#client.close()
  }
}

function settled(
  start: (
    done: (error: ServiceError | null, message?: Message) => void,
  ) => ClientUnaryCall | ClientWritableStream<Message>,
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    let message: Message | undefined
    let head = new Metadata()
    const call = start((error, answer) => {
      message = answer
      if (error !== null) reject(error)
    })
    call.on('metadata', metadata => {
      head = metadata
    })
    call.on('status', ({ code, metadata }) => {
      if (code === 0) resolve({ message: message!, head, trailers: metadata })
    })
  })
}

function metadataOf({ metadata = {} }: CallOptions): Metadata {
  const made = new Metadata()
  for (const [name, value] of Object.entries(metadata)) made.add(name, value)
  return made
}

const optionsOf = ({ deadline }: CallOptions) =>
  deadline === undefined ? {} : { deadline: Date.now() + deadline }
