"""Volumes: conversion from DICOM, orientation, bias field, intensity."""
