import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBus } from './bus.ts'

test('news reaches each listener of its topic and no other', () => {
  const bus = createBus()
  const heard: string[] = []
  bus.subscribe('jobs', () => heard.push('jobs 1'))
  bus.subscribe('jobs', () => heard.push('jobs 2'))
  bus.subscribe('leases', () => heard.push('leases'))
  bus.publish('jobs')
  bus.publish('nobody listens')
  assert.deepEqual(heard, ['jobs 1', 'jobs 2'])
})

test('who unsubscribed hears nothing more, not even of the news at hand', () => {
  const bus = createBus()
  const heard: string[] = []
  let stopSecond = (): void => {}
  bus.subscribe('jobs', () => {
    heard.push('first')
    stopSecond()
  })
  stopSecond = bus.subscribe('jobs', () => heard.push('second'))
  bus.publish('jobs')
  stopSecond()
  bus.publish('jobs')
  assert.deepEqual(heard, ['first', 'first'])
})

test('who subscribes while news is told hears the next', () => {
  const bus = createBus()
  let heard = 0
  const stop = bus.subscribe('jobs', () => {
    stop()
    bus.subscribe('jobs', () => heard++)
  })
  bus.publish('jobs')
  assert.equal(heard, 0)
  bus.publish('jobs')
  assert.equal(heard, 1)
})

test('one listener subscribed twice is two subscriptions, each ended by its own', () => {
  const bus = createBus()
  let heard = 0
  const listen = (): void => {
    heard++
  }
  const stopOne = bus.subscribe('jobs', listen)
  bus.subscribe('jobs', listen)
  bus.publish('jobs')
  assert.equal(heard, 2)
  stopOne()
  stopOne()
  bus.publish('jobs')
  assert.equal(heard, 3)
})
