/** The manifests: each for itself, against each other, and against the gateway that they start. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Document, parseAllDocuments } from 'yaml'
import { OTHER_SETTINGS, SETTINGS } from '../src/config/env.ts'
import { loadConfig } from '../src/config/load.ts'
import { send } from './support/client.ts'
import { SECRET, startGateway } from './support/gateway.ts'
import { parse } from './support/image.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const FOLDER = path.join(ROOT, 'deploy/k8s')
const NAMESPACE = 'nyro-develop'

type Labels = Record<string, string>

interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace: string }
  // biome-ignore lint/suspicious/noExplicitAny: manifests have a shape for each kind
  readonly [field: string]: any
}

/** The one manifest of a file, parsed strictly: a key that stands twice is an error. */
function manifest(file: string): Manifest {
  const documents = parseAllDocuments(readFileSync(path.join(FOLDER, file), 'utf8'), { uniqueKeys: true })
  assert.equal(documents.length, 1, `${file} holds one manifest`)
  const [document] = documents as Document[]
  assert.deepEqual(document!.errors, [])
  return document!.toJS() as Manifest
}

const config = manifest('gateway-configmap.yaml')
const secret = manifest('gateway-secret.yaml')
const deployment = manifest('gateway-deployment.yaml')
const service = manifest('gateway-service.yaml')
const scaler = manifest('gateway-hpa.yaml')
const budget = manifest('gateway-pdb.yaml')

const pod = deployment.spec.template
const container = pod.spec.containers[0]
const inPod: Record<string, string> = Object.fromEntries(
  container.env.map(({ name, value }: { name: string; value: string }) => [name, value]),
)

describe('the manifests', () => {
  it('are these, all in one namespace', () => {
    const found = readdirSync(FOLDER).map(file => {
      const { apiVersion, kind, metadata } = manifest(file)
      assert.equal(metadata.namespace, NAMESPACE, file)
      return [file, apiVersion, kind, metadata.name].join(' ')
    })
    assert.deepEqual(found.sort(), [
      'gateway-configmap.yaml v1 ConfigMap api-gateway-config',
      'gateway-deployment.yaml apps/v1 Deployment api-gateway',
      'gateway-hpa.yaml autoscaling/v2 HorizontalPodAutoscaler api-gateway',
      'gateway-pdb.yaml policy/v1 PodDisruptionBudget api-gateway',
      'gateway-secret.yaml v1 Secret api-gateway-secrets',
      'gateway-service.yaml v1 Service gateway-service',
    ])
  })

  it('hold no secret value, so that applying the folder overwrites none', () => {
    assert.equal(secret.data, undefined)
    assert.equal(secret.stringData, undefined)
    assert.deepEqual(
      Object.keys(config.data).filter(name => /SECRET|PASSWORD|TOKEN/.test(name)),
      [],
    )
  })

  it('select the pods of the Deployment, and scale it', () => {
    const labels: Labels = pod.metadata.labels
    const selectors: Labels[] = [
      deployment.spec.selector.matchLabels,
      service.spec.selector,
      budget.spec.selector.matchLabels,
      ...pod.spec.topologySpreadConstraints.map(
        (constraint: { labelSelector: { matchLabels: Labels } }) => constraint.labelSelector.matchLabels,
      ),
    ]
    assert.equal(selectors.length, 5)
    for (const selector of selectors) {
      assert.ok(Object.keys(selector).length > 0)
      for (const [name, value] of Object.entries(selector)) assert.equal(labels[name], value)
    }
    assert.deepEqual(scaler.spec.scaleTargetRef, {
      apiVersion: deployment.apiVersion,
      kind: deployment.kind,
      name: deployment.metadata.name,
    })
    assert.ok(scaler.spec.minReplicas >= 2)
    assert.equal(deployment.spec.replicas, undefined, 'the scaler owns the number of pods')
  })

  it('lead from the Service to the port that the gateway listens on', () => {
    const [port] = service.spec.ports
    const target = container.ports.find(({ name }: { name: string }) => name === port.targetPort)
    assert.equal(String(target.containerPort), inPod.PORT)
  })

  it('deploy the version of this package, as the user of the image', () => {
    const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
      version: string
    }
    assert.equal(container.image, `ghcr.io/dev-nyro/api-gateway:${version}`)
    const { runAsUser, runAsGroup } = pod.spec.securityContext
    const user = parse(readFileSync(path.join(ROOT, 'deploy/Dockerfile'), 'utf8')).find(
      ({ name }) => name === 'USER',
    )
    assert.equal(user?.text, `${runAsUser}:${runAsGroup}`)
  })

  it('leave a pod no privilege that it does not need', () => {
    assert.equal(pod.spec.securityContext.runAsNonRoot, true)
    assert.deepEqual(pod.spec.securityContext.seccompProfile, { type: 'RuntimeDefault' })
    assert.equal(pod.spec.automountServiceAccountToken, false)
    assert.equal(pod.spec.enableServiceLinks, false)
    assert.deepEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    for (const kind of ['requests', 'limits']) {
      assert.deepEqual(Object.keys(container.resources[kind]), ['cpu', 'memory'])
    }
  })

  it('replace pods without a gap, and give each the time to drain', () => {
    assert.equal(deployment.spec.strategy.rollingUpdate.maxUnavailable, 0)
    const drain = Number(inPod.GATEWAY_DRAIN_DELAY) + Number(inPod.GATEWAY_DRAIN_TIMEOUT)
    assert.ok(pod.spec.terminationGracePeriodSeconds >= drain + 5, `${drain} s of draining`)
    const { periodSeconds, failureThreshold } = container.readinessProbe
    assert.ok(Number(inPod.GATEWAY_DRAIN_DELAY) > periodSeconds * failureThreshold)
    assert.ok(Number(inPod.GATEWAY_DRAIN_TIMEOUT) >= Number(config.data.GATEWAY_HTTP_CLIENT_TIMEOUT))
  })
})

describe('the gateway under the manifests', () => {
  const empty = mkdtempSync(path.join(tmpdir(), 'nyro-k8s-'))
  after(() => rmSync(empty, { recursive: true }))

  /** The pod's environment: ConfigMap and Secret, and over them what the Deployment says. */
  const environment: Record<string, string> = { ...config.data, GATEWAY_JWT_SECRET: SECRET, ...inPod }
  const load = (env: Record<string, string>) => loadConfig({ env, directory: empty, dotenv: false })

  it('gets the ConfigMap and the Secret that exist', () => {
    assert.deepEqual(container.envFrom, [
      { configMapRef: { name: config.metadata.name } },
      { secretRef: { name: secret.metadata.name } },
    ])
  })

  it('knows every variable, and finds nothing wrong with any', async () => {
    const known = [...Object.keys(SETTINGS), ...Object.keys(OTHER_SETTINGS)]
    assert.deepEqual(
      Object.keys(environment).filter(name => !known.includes(name)),
      [],
    )
    for (const [name, value] of Object.entries(environment)) {
      assert.equal(typeof value, 'string', `${name} must be quoted`)
    }
    const loaded = await load(environment)
    assert.deepEqual(loaded.problems, [])
    assert.deepEqual(loaded.warnings, [])
  })

  it('knows every variable that a comment offers', () => {
    const text = readFileSync(path.join(FOLDER, 'gateway-configmap.yaml'), 'utf8')
    const offered = [...text.matchAll(/^ {2}# ([A-Z][A-Z_]+): "/gm)].map(([, name]) => name!)
    assert.ok(offered.includes('VERCEL_FRONTEND_URL'))
    const known = [...Object.keys(SETTINGS), ...Object.keys(OTHER_SETTINGS)]
    assert.deepEqual(
      offered.filter(name => !known.includes(name)),
      [],
    )
  })

  it('understands the ConfigMap of the first gateway in the same way', async () => {
    const { GATEWAY_HTTP_CLIENT_MAX_KEEPALIVE_CONNECTIONS: idle, ...others } = environment
    const older = await load({ ...others, GATEWAY_HTTP_CLIENT_MAX_KEEPALIAS_CONNECTIONS: idle! })
    const newer = await load(environment)
    assert.deepEqual(older.warnings, [])
    assert.equal(newer.config?.client.maxIdleConnections, 20)
    assert.deepEqual(older.config?.client, newer.config?.client)
    assert.equal(newer.config?.client.maxConnections, 100)
    assert.equal(newer.config?.client.timeouts.firstByte, 60)
    assert.equal(newer.config?.log.level, 'info')
    assert.equal(newer.config?.server.port, 8080)
  })

  it('answers each probe with 200', async () => {
    const gateway = await startGateway({
      env: { ...environment, PORT: '0', GATEWAY_DRAIN_DELAY: '0' },
      cwd: empty,
    })
    try {
      const probes = [container.startupProbe, container.livenessProbe, container.readinessProbe]
      assert.deepEqual(
        probes.map(probe => probe.httpGet.path),
        ['/health', '/health', '/ready'],
      )
      for (const { httpGet } of probes) {
        assert.equal(httpGet.port, container.ports[0].name)
        assert.equal((await send(`${gateway.url}${httpGet.path}`)).status, 200, httpGet.path)
      }
    } finally {
      assert.equal(await gateway.stop(), 0)
    }
  })

  it('turns unready before it stops accepting, so that the cluster can take the pod out', async () => {
    const gateway = await startGateway({
      env: { ...environment, PORT: '0', GATEWAY_DRAIN_DELAY: '2' },
      cwd: empty,
    })
    const exited = once(gateway.child, 'exit')
    gateway.child.kill('SIGTERM')
    await gateway.logged(({ event }) => event === 'Gateway draining')
    assert.equal((await send(`${gateway.url}${container.readinessProbe.httpGet.path}`)).status, 503)
    assert.equal((await send(`${gateway.url}${container.livenessProbe.httpGet.path}`)).status, 200)
    assert.equal((await exited)[0], 0)
  })
})
